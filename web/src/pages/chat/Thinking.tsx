import { Brain, ChevronRight } from "lucide";
import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { duration } from "../../components/format";
import { Icon } from "../../components/Icon";
import { Markdown } from "../../components/Markdown";
import { t } from "../../texts";

/** What the model thought, folded. It is drawn when it is opened. */
export function Thinking({ text, ms, isGrowing }: { text: string; ms: number | null; isGrowing: boolean }): VNode {
  const [isOpen, setOpen] = useState(false);
  const texts = t().chat;
  const label = isGrowing ? texts.thinking : ms === null ? texts.thoughts : texts.thoughtFor(duration(ms));
  return (
    <div class="thinking" data-open={isOpen || undefined}>
      <button type="button" class="thinking-head" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <Icon of={Brain} size={16} />
        <span data-growing={isGrowing || undefined}>{label}</span>
        <Icon of={ChevronRight} size={16} />
      </button>
      {isOpen && (
        <div class="thinking-body">
          <Markdown text={text} isGrowing={isGrowing} />
        </div>
      )}
    </div>
  );
}
