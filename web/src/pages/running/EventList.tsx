import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { SelectField } from "../../components/Fields";
import { duration } from "../../components/format";
import { Name, plainName } from "../../components/Name";
import { ErrorNotice } from "../../components/States";
import type { Decision } from "../../services/api/operations";
import { t } from "../../texts";
import { events } from "./live";

const FEW = 12;
const TONES: Record<string, string> = {
  loaded: "good",
  loading: "accent",
  "load failed": "bad",
  "load aborted": "warn",
  "runner ended": "bad",
  queued: "",
  waiting: "warn",
  refused: "bad",
};

/** Why models were loaded, unloaded and kept waiting. */
export function EventList(): VNode {
  const texts = t().running;
  const { list, error } = events.value;
  const [model, setModel] = useState("");
  const [isWhole, setWhole] = useState(false);
  const names = [...new Set(list.map((each) => each.model))].filter(Boolean).sort();
  const found = list.filter((each) => !model || each.model === model);
  return (
    <section class="running-section" aria-labelledby="running-events">
      <div class="running-events-head">
        <h2 id="running-events">{texts.events}</h2>
        {names.length > 1 && (
          <SelectField
            label={texts.eventsOf}
            value={model}
            options={[["", texts.allModels], ...names.map((each) => [each, plainName(each)] as [string, string])]}
            onText={setModel}
          />
        )}
      </div>
      {error !== null && <ErrorNotice error={error} />}
      {found.length ? (
        <ol role="list" class="card running-events">
          {found.slice(0, isWhole ? found.length : FEW).map((each) => (
            <EventRow key={each.id} decision={each} />
          ))}
        </ol>
      ) : (
        error === null && <p class="hint">{texts.noEvents}</p>
      )}
      {found.length > FEW && (
        <Button size="small" class="fit" onClick={() => setWhole(!isWhole)}>
          {isWhole ? texts.fewer : texts.allOf(found.length)}
        </Button>
      )}
    </section>
  );
}

function EventRow({ decision }: { decision: Decision }): VNode {
  const names: Record<string, string> = t().running.eventNames;
  const { at, event, model, reason, error, seconds } = decision;
  const words = [reason, decision.for, error].filter((each): each is string => typeof each === "string");
  if (typeof seconds === "number") words.push(duration(1000 * seconds));
  const time = new Date(at);
  return (
    <li>
      <time dateTime={at}>{Number.isNaN(time.getTime()) ? "" : time.toLocaleTimeString(t().units.locale)}</time>
      <span class="badge" data-tone={TONES[event] || undefined}>
        {Object.hasOwn(names, event) ? names[event] : plainName(event)}
      </span>
      <span>
        <Name of={model} />
        {words.length > 0 && <span class="hint"> {plainName(words.join(" · "))}</span>}
      </span>
    </li>
  );
}
