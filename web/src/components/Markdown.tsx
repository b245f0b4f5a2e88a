import type { VNode } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { copyText } from "../services/clipboard";
import { highlighterVersion } from "../services/markdown/highlight";
import { MarkdownStream, type Block } from "../services/markdown/stream";
import { toast } from "../state/toasts";
import { t } from "../texts";
import { memo } from "./memo";
import "./markdown.css";

const SHOWN_MS = 1600;

/** A text in Markdown, made by a model or by anybody: it is clean when it is shown. */
export function Markdown({ text, isGrowing = false }: { text: string; isGrowing?: boolean }): VNode {
  const [stream] = useState(() => new MarkdownStream());
  const version = highlighterVersion.value;
  const whole = useMemo(() => (isGrowing ? null : stream.whole(text)), [text, isGrowing, version]);
  const blocks = whole ?? stream.update(text);
  return (
    <div class="markdown" dir="auto" onClick={onAction}>
      {blocks.map((each) => (
        <MarkdownBlock key={each.key} block={each} />
      ))}
    </div>
  );
}

/** The markup is set by hand: a block that did not change keeps its elements, and the selection in them. */
const MarkdownBlock = memo(function MarkdownBlock({ block }: { block: Block }): VNode {
  const element = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const target = element.current;
    if (!target) return;
    target.innerHTML = block.html;
    void drawFormulas(target);
  }, [block.html]);
  return <div ref={element} class="md-block" />;
});

async function drawFormulas(target: HTMLElement): Promise<void> {
  const formulas = target.querySelectorAll<HTMLElement>(".math:not([data-drawn])");
  if (formulas.length === 0) return;
  const { drawFormula } = await import("../services/markdown/formulas");
  for (const each of formulas) if (each.isConnected) drawFormula(each);
}

function onAction(event: MouseEvent): void {
  const button = (event.target as Element).closest<HTMLElement>('[data-action="copy-code"]');
  if (!button) return;
  const code = button.closest(".code")?.querySelector("code")?.textContent ?? "";
  void copyCode(button, code);
}

async function copyCode(button: HTMLElement, code: string): Promise<void> {
  if (!(await copyText(code))) {
    toast(t().common.copyFailed, { tone: "bad" });
    return;
  }
  button.textContent = t().common.copied;
  setTimeout(() => (button.textContent = t().common.copy), SHOWN_MS);
}
