import { t } from "../texts";

const KB = 1000;

/** A size in bytes as people write it: `4.7 GB`, powers of 1000 as Ollama has them. */
export function bytes(count: number): string {
  const names = ["B", "KB", "MB", "GB", "TB", "PB"];
  let value = count;
  let index = 0;
  while (value >= KB && index < names.length - 1) {
    value /= KB;
    index += 1;
  }
  const digits = index === 0 || value >= 100 ? 0 : 1;
  return `${t().units.decimal(value, digits)} ${names[index] ?? "B"}`;
}

/** A time span in milliseconds: `340 ms`, `2.4 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${t().units.decimal(seconds, 1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function integer(value: number): string {
  return value.toLocaleString(t().units.locale);
}

/** How long ago, or in how long: `3 hours ago`, `in 4 minutes`. */
export function relative(ms: number, nowMs = Date.now()): string {
  const format = new Intl.RelativeTimeFormat(t().units.locale, { numeric: "auto" });
  const seconds = (ms - nowMs) / 1000;
  const steps: [Intl.RelativeTimeFormatUnit, number][] = [
    ["second", 60],
    ["minute", 60],
    ["hour", 24],
    ["day", 30],
    ["month", 12],
  ];
  let value = seconds;
  for (const [unit, size] of steps) {
    if (Math.abs(value) < size) return format.format(Math.round(value), unit);
    value /= size;
  }
  return format.format(Math.round(value), "year");
}

export function dateTime(ms: number): string {
  return new Date(ms).toLocaleString(t().units.locale, { dateStyle: "medium", timeStyle: "short" });
}

/** A number of tokens as people say it: `512`, `8K`, `131K`, `1M`. Powers of 1024, as contexts have them. */
export function tokens(count: number): string {
  if (count < 1024) return String(count);
  const [value, unit] = count < 1024 * 1024 ? [count / 1024, "K"] : [count / (1024 * 1024), "M"];
  return `${t().units.decimal(value, Number.isInteger(value) || value >= 10 ? 0 : 1)}${unit}`;
}
