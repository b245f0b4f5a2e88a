import { Download } from "lucide";
import type { VNode } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { SelectField } from "../../components/Fields";
import { duration, integer } from "../../components/format";
import { Name } from "../../components/Name";
import { ErrorNotice, Notice, Skeleton } from "../../components/States";
import { ApiError } from "../../services/api/errors";
import { readUsage, usageAsCsv, type Figure, type Group, type Usage } from "../../services/api/usage";
import { resource } from "../../state/resource";
import { toastError } from "../../state/toasts";
import { t } from "../../texts";
import { chartOf, totalsOf } from "./series";
import { UsageChart } from "./UsageChart";

const LOOK_EVERY_MS = 30_000;
const TIMES = ["7d", "30d", "90d", "all"] as const;
const SHOWN: readonly Figure[] = ["generated_tokens", "prompt_tokens", "requests", "errors", "ms"];

export function UsagePart(): VNode {
  const texts = t().admin;
  const [since, setSince] = useState<string>("30d");
  const [group, setGroup] = useState<Group>("model");
  const [figure, setFigure] = useState<Figure>("generated_tokens");
  const usage = useMemo(() => resource((ended) => readUsage(since, group, ended)), [since, group]);
  useEffect(() => usage.poll(LOOK_EVERY_MS), [usage]);
  const { value, error } = usage.known.value;

  return (
    <div class="stack">
      <div class="usage-choices">
        <SelectField
          label={texts.time}
          value={since}
          options={TIMES.map((each) => [each, texts.times[each]] as const)}
          onText={setSince}
        />
        <SelectField
          label={texts.by}
          value={group}
          options={(["model", "key", "surface"] as const).map((each) => [each, texts.groups[each]] as const)}
          onText={(text) => setGroup(text as Group)}
        />
        <SelectField
          label={texts.figure}
          value={figure}
          options={SHOWN.map((each) => [each, texts.figures[each]] as const)}
          onText={(text) => setFigure(text as Figure)}
        />
        <Button icon={Download} onClick={() => void download(since, group)}>
          CSV
        </Button>
      </div>
      {error instanceof ApiError && error.status === 404 ? (
        <Notice title={texts.usageOff} hint={texts.usageOffHint} />
      ) : (
        error !== null && <ErrorNotice error={error} onRetry={() => void usage.refresh()} />
      )}
      {value ? <Shown usage={value} group={group} figure={figure} /> : error === null && <Skeleton lines={[100, 100, 60]} />}
    </div>
  );
}

function Shown({ usage, group, figure }: { usage: Usage; group: Group; figure: Figure }): VNode {
  const texts = t().admin;
  const chart = chartOf(usage, group, figure);
  const rows = totalsOf(usage, group);
  const write = (value: number): string => (figure === "ms" ? duration(value) : short(value));
  return (
    <>
      <div class="card stack">
        <UsageChart chart={chart} name={texts.chartOf(texts.figures[figure], texts.groups[group])} write={write} />
        {chart.series.length > 0 && (
          <ul role="list" class="usage-legend">
            {chart.series.map(({ name }, index) => (
              <li key={name}>
                <span class="usage-colour" data-series={index + 1} aria-hidden="true" />
                {name ? <Name of={name} /> : texts.others}
              </li>
            ))}
          </ul>
        )}
      </div>
      <div class="table-box" tabIndex={0} role="group" aria-label={texts.totals}>
        <table class="table usage-table">
          <caption class="visually-hidden">{texts.totals}</caption>
          <thead>
            <tr>
              <th scope="col">{texts.groups[group]}</th>
              {SHOWN.map((each) => (
                <th key={each} scope="col" data-number>
                  {texts.figures[each]}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.name}>
                <th scope="row">
                  <Name of={row.name} />
                </th>
                <Cells of={row} />
              </tr>
            ))}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">{texts.total}</th>
              <Cells of={usage.total} />
            </tr>
          </tfoot>
        </table>
      </div>
    </>
  );
}

function Cells({ of }: { of: Record<Figure, number> }): VNode {
  return (
    <>
      {SHOWN.map((each) => (
        <td key={each} data-number>
          {each === "ms" ? duration(of[each]) : integer(of[each])}
        </td>
      ))}
    </>
  );
}

/** `1.2M` and the like, for an axis. */
function short(value: number): string {
  return value.toLocaleString(t().units.locale, { notation: "compact", maximumFractionDigits: 1 });
}

async function download(since: string, group: Group): Promise<void> {
  try {
    const url = URL.createObjectURL(await usageAsCsv(since, group));
    const link = document.createElement("a");
    link.href = url;
    link.download = `corral-usage-${new Date().toISOString().slice(0, 10)}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  } catch (error) {
    toastError(error);
  }
}
