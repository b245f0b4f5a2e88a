import type { Figure, Group, Usage, UsageRow } from "../../services/api/usage";

/** Colours there are; what is used less is added up. */
export const MOST_SERIES = 5;
const DAY_MS = 86_400_000;
const MOST_DAYS = 800;

export interface Series {
  /** Empty: the rest. */
  name: string;
  values: number[];
  total: number;
}

export interface Chart {
  days: string[];
  series: Series[];
  /** The highest sum of a day. */
  most: number;
}

/** What is drawn: a value for each day of the time, by the groups that used most of it. */
export function chartOf(usage: Usage, group: Group, figure: Figure): Chart {
  const days = daysOf(usage);
  const index = new Map(days.map((day, at) => [day, at]));
  const byName = new Map<string, number[]>();
  for (const row of usage.usage) {
    const at = index.get(row.day ?? "");
    if (at === undefined) continue;
    const name = nameOf(row, group);
    const values = byName.get(name) ?? days.map(() => 0);
    values[at] = (values[at] ?? 0) + (row[figure] ?? 0);
    byName.set(name, values);
  }
  const all = [...byName].map(([name, values]): Series => ({ name, values, total: sum(values) }));
  all.sort((one, other) => other.total - one.total || one.name.localeCompare(other.name));
  const rest = all.slice(MOST_SERIES);
  const series = all.slice(0, MOST_SERIES);
  if (rest.length) {
    const values = days.map((_, at) => sum(rest.map((each) => each.values[at] ?? 0)));
    series.push({ name: "", values, total: sum(values) });
  }
  const most = Math.max(0, ...days.map((_, at) => sum(series.map((each) => each.values[at] ?? 0))));
  return { days, series, most };
}

/** Every day from the first to the last one, those without use too. */
export function daysOf(usage: Usage): string[] {
  const used = usage.usage.map((row) => row.day ?? "").filter(Boolean).sort();
  const first = Date.parse(usage.since || used[0] || "");
  const last = Date.parse(usage.until || new Date().toISOString().slice(0, 10));
  if (Number.isNaN(first) || Number.isNaN(last) || last < first) return [];
  const count = Math.min(MOST_DAYS, Math.round((last - first) / DAY_MS) + 1);
  return Array.from({ length: count }, (_, at) => new Date(last - (count - 1 - at) * DAY_MS).toISOString().slice(0, 10));
}

/** The sums of each group over all days, the most used first. */
export function totalsOf(usage: Usage, group: Group): (UsageRow & { name: string })[] {
  const found = new Map<string, UsageRow & { name: string }>();
  for (const row of usage.usage) {
    const name = nameOf(row, group);
    const before = found.get(name);
    if (!before) found.set(name, { ...row, name });
    else for (const [key, value] of Object.entries(row)) {
      if (typeof value === "number") (before as unknown as Record<string, number>)[key] = before[key as Figure] + value;
    }
  }
  return [...found.values()].sort((one, other) => other.requests - one.requests || one.name.localeCompare(other.name));
}

export function nameOf(row: UsageRow, group: Group): string {
  return (group === "key" ? row.key_name || row.key : row[group]) || "–";
}

/** Round numbers for the lines of an axis, from 0 to at least `most`. */
export function ticks(most: number, count = 4): number[] {
  if (most <= 0) return [0, 1];
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? rough;
  const size = most < count ? 1 : step;
  return Array.from({ length: Math.ceil(most / size) + 1 }, (_, at) => at * size);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, each) => total + each, 0);
}
