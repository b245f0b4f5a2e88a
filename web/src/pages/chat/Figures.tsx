import { Info } from "lucide";
import type { VNode } from "preact";

import { IconButton } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { duration, integer } from "../../components/format";
import { Bar } from "../../components/States";
import type { Message } from "../../services/chats/types";
import type { Run } from "../../state/chats/run";
import { t } from "../../texts";
import { useState } from "preact/hooks";

const NEARLY_FULL = 0.9;

export function Figures({ message }: { message: Message }): VNode | null {
  const [isOpen, setOpen] = useState(false);
  const { perS, firstTokenMs } = message.stats;
  if (perS === undefined && firstTokenMs === undefined) return null;
  const texts = t().chat;
  return (
    <div class="figures">
      {perS !== undefined && <span>{texts.perS(speed(perS))}</span>}
      {firstTokenMs !== undefined && <span class="figures-first">{texts.firstToken(duration(firstTokenMs))}</span>}
      <ContextGauge message={message} />
      <IconButton icon={Info} size="small" label={texts.figures} onClick={() => setOpen(true)} />
      {isOpen && <FiguresDialog message={message} onClose={() => setOpen(false)} />}
    </div>
  );
}

function ContextGauge({ message }: { message: Message }): VNode | null {
  const share = contextShare(message);
  if (share === null) return null;
  const tone = share > NEARLY_FULL ? { tone: "warn" as const } : {};
  const label = contextText(message);
  return (
    <span class="context-gauge" title={share > NEARLY_FULL ? `${label}. ${t().chat.contextFull}` : label}>
      <Bar share={share} label={label} {...tone} />
    </span>
  );
}

function contextShare({ stats }: Message): number | null {
  return stats.context && stats.promptTokens !== undefined ? ((stats.promptTokens + (stats.tokens ?? 0)) / stats.context) : null;
}

function contextText({ stats }: Message): string {
  return t().chat.context(integer((stats.promptTokens ?? 0) + (stats.tokens ?? 0)), integer(stats.context ?? 0));
}

function speed(perS: number): string {
  return t().units.decimal(perS, perS < 100 ? 1 : 0);
}

function FiguresDialog({ message, onClose }: { message: Message; onClose: () => void }): VNode {
  const texts = t().chat;
  const { stats } = message;
  const reasons: Record<string, string> = { stop: texts.reasonStop, length: texts.reasonLength };
  const rows: [string, string | undefined][] = [
    [texts.figureModel, message.model],
    [texts.figureTokens, stats.tokens === undefined ? undefined : integer(stats.tokens)],
    [texts.figureSpeed, stats.perS === undefined ? undefined : texts.perS(speed(stats.perS))],
    [texts.figureFirst, stats.firstTokenMs === undefined ? undefined : duration(stats.firstTokenMs)],
    [texts.figureTotal, stats.totalMs === undefined ? undefined : duration(stats.totalMs)],
    [texts.figureLoad, stats.loadMs ? duration(stats.loadMs) : undefined],
    [texts.figurePrompt, promptText(message)],
    [texts.figurePromptSpeed, stats.promptPerS ? texts.perS(speed(stats.promptPerS)) : undefined],
    [texts.figureReason, stats.reason ? (reasons[stats.reason] ?? stats.reason) : undefined],
  ];
  const share = contextShare(message);
  return (
    <Dialog title={texts.figures} onClose={onClose}>
      <dl class="facts">
        {rows.map(
          ([name, value]) =>
            value !== undefined && (
              <>
                <dt>{name}</dt>
                <dd dir="auto">{value}</dd>
              </>
            ),
        )}
      </dl>
      {share !== null && (
        <div class="context-row">
          <span>{contextText(message)}</span>
          <Bar share={share} label={contextText(message)} />
        </div>
      )}
    </Dialog>
  );
}

function promptText({ stats }: Message): string | undefined {
  if (stats.promptTokens === undefined) return undefined;
  const cached = stats.cachedTokens ? `, ${t().chat.figureCached(integer(stats.cachedTokens))}` : "";
  return integer(stats.promptTokens) + cached;
}

/** The speed so far: pieces are about tokens. */
export function LiveFigures({ run }: { run: Run }): VNode | null {
  const { pieces, firstAt } = run.seen.value;
  const seconds = (Date.now() - firstAt) / 1000;
  if (pieces < 8 || seconds < 0.5) return null;
  return (
    <div class="figures" aria-hidden="true">
      <span>{t().chat.perS(speed(pieces / seconds))}</span>
    </div>
  );
}
