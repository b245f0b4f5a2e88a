import type { Top } from "../../services/api/operations";

const KEPT = 60;

/** Tokens a second of a model over the last looks, oldest first. */
export interface Rate {
  atMs: number;
  tokens: number;
  perS: readonly number[];
}

/** What the counters of two looks say: the difference by the time between them. A counter that fell began anew. */
export function nextRates(before: ReadonlyMap<string, Rate>, models: Top["models"], nowMs: number): Map<string, Rate> {
  const found = new Map<string, Rate>();
  for (const { name, generated_tokens: tokens } of models) {
    const last = before.get(name);
    if (!last) {
      found.set(name, { atMs: nowMs, tokens, perS: [] });
      continue;
    }
    const seconds = (nowMs - last.atMs) / 1000;
    const made = tokens >= last.tokens ? tokens - last.tokens : tokens;
    const perS = seconds > 0 ? [...last.perS, made / seconds].slice(-KEPT) : last.perS;
    found.set(name, { atMs: nowMs, tokens, perS });
  }
  return found;
}

/** Points of a line through the values, for a box of the given size; the highest value is at the top. */
export function sparkPoints(values: readonly number[], width: number, height: number): string {
  const most = Math.max(...values, 1e-9);
  const step = width / (KEPT - 1);
  const start = width - step * (values.length - 1);
  return values
    .map((value, index) => `${(start + index * step).toFixed(1)},${(height - (height * value) / most).toFixed(1)}`)
    .join(" ");
}

/** Whether an expiry means forever: the server writes a time centuries away. */
export function isForever(expiresAt: string, nowMs: number): boolean {
  return Date.parse(expiresAt) - nowMs > 10 * 365 * 86_400_000;
}
