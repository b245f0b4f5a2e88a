import { Square, X } from "lucide";
import type { VNode } from "preact";

import { IconButton } from "../../components/Button";
import { CopyButton } from "../../components/CopyButton";
import { duration, integer } from "../../components/format";
import { Markdown } from "../../components/Markdown";
import { ModelPicker } from "../../components/ModelPicker";
import { plainName } from "../../components/Name";
import { ErrorNotice, Spinner } from "../../components/States";
import { t } from "../../texts";
import { best, lanes, removeLane, stop, type Lane } from "./race";

interface Props {
  lane: Lane;
  canLeave: boolean;
  onModel: (model: string) => void;
}

export function LaneCard({ lane, canLeave, onModel }: Props): VNode {
  const texts = t().compare;
  const isActive = lane.state === "waiting" || lane.state === "running";
  const name = plainName(lane.model);
  return (
    <li class="card lane" aria-label={name || texts.noModel}>
      <div class="lane-head">
        <ModelPicker value={lane.model} onChoose={onModel} label={texts.model} />
        <div class="lane-tools">
          {lane.text && <CopyButton text={lane.text} />}
          {isActive && <IconButton icon={Square} size="small" label={texts.stopOf(name)} onClick={() => stop(lane.id)} />}
          {canLeave && <IconButton icon={X} size="small" label={texts.remove(name)} onClick={() => removeLane(lane.id)} />}
        </div>
      </div>
      <Figures lane={lane} />
      <div class="lane-text">
        {lane.thinking && (
          <details>
            <summary class="hint">{t().chat.thoughts}</summary>
            <p class="lane-thinking" dir="auto">
              {lane.thinking}
            </p>
          </details>
        )}
        {lane.text && <Markdown text={lane.text} isGrowing={isActive} />}
        {lane.state === "failed" && <ErrorNotice error={lane.error} />}
        {lane.state === "idle" && <p class="hint">{lane.model ? texts.ready : texts.noModel}</p>}
        {lane.state === "done" && !lane.text && !lane.thinking && <p class="hint">{t().chat.empty}</p>}
        {lane.state === "waiting" && (
          <p class="lane-wait">
            <Spinner label={texts.waiting} />
          </p>
        )}
      </div>
      <span class="visually-hidden" role="status">
        {lane.state === "done" ? texts.done(name) : lane.state === "stopped" ? texts.stopped(name) : ""}
      </span>
    </li>
  );
}

function Figures({ lane }: { lane: Lane }): VNode {
  const texts = t().compare;
  const all = lanes.value;
  const figures: [string, string, boolean][] = [
    [texts.first, time(lane.firstMs), best(all, (each) => each.firstMs, false).has(lane.id)],
    [texts.speed, lane.perS === null ? "–" : t().units.decimal(lane.perS, 1), best(all, (each) => each.perS, true).has(lane.id)],
    [texts.total, time(lane.totalMs), best(all, (each) => each.totalMs, false).has(lane.id)],
    [texts.tokens, lane.tokens === null ? "–" : integer(lane.tokens), false],
  ];
  return (
    <dl class="lane-figures">
      {figures.map(([label, value, isBest]) => (
        <div key={label} data-best={isBest || undefined}>
          <dt>{label}</dt>
          <dd>
            {value}
            {isBest && <span class="visually-hidden"> ({texts.best})</span>}
          </dd>
        </div>
      ))}
    </dl>
  );
}

function time(ms: number | null): string {
  return ms === null ? "–" : duration(ms);
}
