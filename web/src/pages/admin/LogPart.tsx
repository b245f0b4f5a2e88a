import { Download, ScrollText } from "lucide";
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { SelectField, TextField } from "../../components/Fields";
import { plainName } from "../../components/Name";
import { Empty, ErrorNotice, Skeleton } from "../../components/States";
import { readLog, type LogLine } from "../../services/api/logs";
import { saveFile } from "../../services/files";
import { resource, type Resource } from "../../state/resource";
import { t } from "../../texts";
import { matching } from "./lines";

const POLL_MS = 2000;
const MOST_LINES = 1000;
const FEW = 200;
const TONES: Record<string, string> = { WARNING: "warn", ERROR: "bad", CRITICAL: "bad" };

/** The newest lines come first; only those that came since are asked for. */
const log: Resource<LogLine[]> = resource(async (signal) => {
  const known = log.known.peek().value ?? [];
  const found = await readLog(known[0]?.number ?? 0, signal);
  return [...found.reverse(), ...known].slice(0, MOST_LINES);
});

/** What the server writes into its log, from INFO on. */
export function LogPart(): VNode {
  const texts = t().admin;
  const { value, error } = log.known.value;
  const [text, setText] = useState("");
  const [level, setLevel] = useState("INFO");
  const [isWhole, setWhole] = useState(false);
  useEffect(() => log.poll(POLL_MS), []);
  if (value === null && error === null) return <Skeleton lines={[100, 100, 100, 60]} />;
  const found = matching(value ?? [], text, level);
  return (
    <>
      {error !== null && <ErrorNotice error={error} onRetry={() => void log.refresh()} />}
      <div class="log-tools">
        <TextField label={texts.logSearch} type="search" value={text} onText={setText} />
        <SelectField label={texts.logLevel} value={level} options={levels()} onText={setLevel} />
        <Button icon={Download} disabled={found.length === 0} onClick={() => save(found)}>
          {texts.logSave}
        </Button>
      </div>
      {found.length > 0 ? (
        <ol role="list" class="card log-lines" aria-label={texts.log} tabIndex={0}>
          {found.slice(0, isWhole ? found.length : FEW).map((each) => (
            <LogRow key={each.number} line={each} />
          ))}
        </ol>
      ) : (
        value !== null && (
          <Empty icon={ScrollText} title={value.length > 0 ? texts.logNoneFound : texts.logEmpty}>
            {texts.logEmptyHint}
          </Empty>
        )
      )}
      {found.length > FEW && (
        <Button size="small" class="fit" onClick={() => setWhole(!isWhole)}>
          {isWhole ? t().running.fewer : t().running.allOf(found.length)}
        </Button>
      )}
    </>
  );
}

function levels(): [string, string][] {
  const texts = t().admin;
  return [
    ["INFO", texts.logAll],
    ["WARNING", texts.logWarnings],
    ["ERROR", texts.logErrors],
  ];
}

function LogRow({ line }: { line: LogLine }): VNode {
  const time = new Date(line.at);
  return (
    <li>
      <time dateTime={line.at} title={line.at}>
        {Number.isNaN(time.getTime()) ? "" : time.toLocaleTimeString(t().units.locale)}
      </time>
      <span class="badge" data-tone={TONES[line.level]}>
        {plainName(line.level)}
      </span>
      <code dir="ltr">
        <span class="hint">{plainName(line.logger)}</span> {plainName(line.message)}
      </code>
    </li>
  );
}

function save(lines: readonly LogLine[]): void {
  const text = lines.toReversed().map((each) => `${each.at} ${each.level} ${each.logger} ${each.message}\n`);
  saveFile(`corral-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.log`, new Blob(text, { type: "text/plain" }));
}
