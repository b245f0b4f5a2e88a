import { expect, test } from "vitest";

import { matching } from "../src/pages/admin/lines";
import { EMPTY, orderOf, patternsOf } from "../src/pages/admin/order";
import { chartOf, daysOf, ticks, totalsOf } from "../src/pages/admin/series";
import type { Usage, UsageRow } from "../src/services/api/usage";

const none = { requests: 0, errors: 0, cancelled: 0, prompt_tokens: 0, cached_tokens: 0, generated_tokens: 0, ms: 0 };

function row(day: string, model: string, requests: number): UsageRow {
  return { ...none, day, model, requests };
}

function usage(rows: UsageRow[], since = "2026-11-28", until = "2026-11-30"): Usage {
  return { since, until, usage: rows, total: none };
}

test("days without use are there too", () => {
  expect(daysOf(usage([]))).toEqual(["2026-11-28", "2026-11-29", "2026-11-30"]);
  expect(daysOf(usage([row("2026-11-29", "a", 1)], ""))).toEqual(["2026-11-29", "2026-11-30"]);
  expect(daysOf(usage([], "2026-02-27", "2026-03-01"))).toEqual(["2026-02-27", "2026-02-28", "2026-03-01"]);
  expect(daysOf(usage([], "", "2026-03-01"))).toEqual([]);
});

test("each series has a value for each day, the most used first", () => {
  const chart = chartOf(
    usage([row("2026-11-28", "a", 1), row("2026-11-30", "a", 2), row("2026-11-30", "b", 9), row("1999-01-01", "b", 99)]),
    "model",
    "requests",
  );
  expect(chart.series).toEqual([
    { name: "b", values: [0, 0, 9], total: 9 },
    { name: "a", values: [1, 0, 2], total: 3 },
  ]);
  expect(chart.most).toBe(11);
});

test("what is used least is added up", () => {
  const rows = Array.from({ length: 9 }, (_, at) => row("2026-11-29", `m${at}`, 10 - at));
  const { series } = chartOf(usage(rows), "model", "requests");
  expect(series.map((each) => each.name)).toEqual(["m0", "m1", "m2", "m3", "m4", ""]);
  expect(series.at(-1)?.values).toEqual([0, 5 + 4 + 3 + 2, 0]);
});

test("keys are shown by their names, and by their ids where they have none", () => {
  const rows: UsageRow[] = [
    { ...none, day: "2026-11-29", key: "k1", key_name: "ci", requests: 1 },
    { ...none, day: "2026-11-30", key: "k1", key_name: "ci", requests: 2, ms: 5 },
    { ...none, day: "2026-11-30", key: "k2", key_name: "", requests: 4 },
    { ...none, day: "2026-11-30", key: "", key_name: "", requests: 1 },
  ];
  expect(totalsOf(usage(rows), "key").map((each) => [each.name, each.requests, each.ms])).toEqual([
    ["k2", 4, 0],
    ["ci", 3, 5],
    ["–", 1, 0],
  ]);
});

test.each([
  [0, [0, 1]],
  [1, [0, 1]],
  [3, [0, 1, 2, 3]],
  [10, [0, 5, 10]],
  [97, [0, 50, 100]],
  [1234, [0, 500, 1000, 1500]],
])("lines up to %d", (most, lines) => expect(ticks(most)).toEqual(lines));

test("empty fields are left out of an order, and what is no limit is none", () => {
  expect(orderOf({ ...EMPTY, name: " ci " })).toEqual({ name: "ci", scopes: ["infer", "read"], models: [] });
  const limits = { rpm: "60", tpm: "", tokens_per_day: "0", max_parallel: "1.5", max_predict: "x" };
  expect(orderOf({ ...EMPTY, name: "a", models: "qwen3*\n", expires: "30d", note: " n ", priority: "batch", limits })).toEqual({
    name: "a",
    scopes: ["infer", "read"],
    models: ["qwen3*"],
    expires: "30d",
    note: "n",
    priority: "batch",
    rpm: 60,
  });
});

test("patterns are one a line, or with commas between", () => {
  expect(patternsOf(" a*, b:c \n\n,d/e\r\n")).toEqual(["a*", "b:c", "d/e"]);
});

test("lines of the log are found by their level and by words", () => {
  const line = (number: number, level: string, message: string) => ({ number, at: "", level, logger: "corral.http", message });
  const all = [line(4, "ERROR", "it broke"), line(3, "WARNING", "It may break"), line(2, "INFO", "fine"), line(1, "ODD", "?")];
  const numbers = (text: string, level: string) => matching(all, text, level).map((each) => each.number);
  expect(numbers("", "INFO")).toEqual([4, 3, 2, 1]);
  expect(numbers("", "WARNING")).toEqual([4, 3, 1]);
  expect(numbers(" BREAK ", "INFO")).toEqual([3]);
  expect(numbers("corral.http", "ERROR")).toEqual([4, 1]);
});
