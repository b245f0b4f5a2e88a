import { expect, test } from "vitest";

import { isForever, nextRates, sparkPoints, type Rate } from "../src/pages/running/rates";
import { readDecision, type RunningModel } from "../src/services/api/operations";

function model(name: string, tokens: number): RunningModel {
  return { name, state: "loaded", waiting: 0, generated_tokens: tokens };
}

test("speeds are what the counters gained; a counter that fell began anew; models that left are forgotten", () => {
  let rates = nextRates(new Map(), [model("a", 100), model("b", 5)], 1000);
  expect(rates.get("a")?.perS).toEqual([]);
  rates = nextRates(rates, [model("a", 150), model("c", 1)], 1500);
  expect(rates.get("a")?.perS).toEqual([100]);
  expect([...rates.keys()]).toEqual(["a", "c"]);
  rates = nextRates(rates, [model("a", 20)], 2500);
  expect(rates.get("a")?.perS).toEqual([100, 20]);
});

test("only the last minute is kept", () => {
  let rates = new Map<string, Rate>();
  for (let s = 0; s < 100; s += 1) rates = nextRates(rates, [model("a", s)], s * 1000);
  expect(rates.get("a")?.perS.length).toBe(60);
});

test("a line ends at the right, and its highest value is at the top", () => {
  expect(sparkPoints([0, 10], 59, 20)).toBe("58.0,20.0 59.0,0.0");
  expect(sparkPoints([], 59, 20)).toBe("");
  expect(sparkPoints([0], 59, 20)).toBe("59.0,20.0");
});

test("forever is a time centuries away", () => {
  const now = Date.parse("2026-11-30T00:00:00Z");
  expect(isForever("2319-03-12T15:30:33Z", now)).toBe(true);
  expect(isForever("2026-12-30T00:00:00Z", now)).toBe(false);
  expect(isForever("", now)).toBe(false);
});

test.each(["", "null", "[]", "{}", '{"id":"1","event":"x"}', "{"])("no decision: %s", (text) => {
  expect(readDecision(text)).toBeNull();
});

test("a decision without a model or a time is one", () => {
  expect(readDecision('{"id":1,"event":"loaded"}')).toEqual({ id: 1, event: "loaded", model: "", at: "" });
});
