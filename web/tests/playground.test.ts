import { expect, test } from "vitest";

import {
  cosine,
  percent,
  perplexity,
  probability,
  shownToken,
  similarities,
  sureness,
  visible,
} from "../src/pages/playground/figures";

const decimal = (value: number, digits: number): string => value.toFixed(digits);

test.each([
  [[1, 0], [0, 1], 0],
  [[1, 2], [2, 4], 1],
  [[1, 0], [-3, 0], -1],
  [[0, 0], [1, 1], 0],
  [[3, 4], [4, 3], 0.96],
])("cosine of %j and %j", (one, other, wanted) => expect(cosine(one, other)).toBeCloseTo(wanted, 12));

test("a matrix of similarities is symmetric, with 1 in its diagonal", () => {
  const matrix = similarities([[1, 0], [1, 1], [0, 2]]);
  expect(matrix.map((row, index) => row[index])).toEqual([1, expect.closeTo(1), 1]);
  expect(matrix[0]?.[1]).toBe(matrix[1]?.[0]);
});

test.each([[0, 1, 4], [Math.log(0.7), 0.7, 3], [Math.log(0.3), 0.3, 2], [Math.log(0.1), 0.1, 1], [-20, 0, 0], [0.001, 1, 4]])(
  "log probability %d",
  (logprob, p, steps) => {
    expect(probability(logprob)).toBeCloseTo(p, 6);
    expect(sureness(logprob)).toBe(steps);
  },
);

test.each([[1, "100.0 %"], [0.123, "12.3 %"], [0.005, "0.50 %"], [0.00001, "< 0.01 %"], [0, "0.00 %"]])(
  "%d as a share",
  (p, text) => expect(percent(p, decimal)).toBe(text),
);

test.each([
  [" a b", "·a·b"],
  ["a\n\t", "a↵→"],
  ["\u202ex\u0000", "<U+202E>x<U+0000>"],
  [[226, 130], "<E2 82>"],
  [[], "<>"],
  ["<b>é😀", "<b>é😀"],
])("%j is shown", (piece, text) => expect(visible(piece)).toBe(text));

test("a token that is a part of a character is shown as bytes, and one that is not as its text", () => {
  expect(shownToken({ token: "\ufffd", bytes: [0xf0, 0x9f] })).toBe("<F0 9F>");
  expect(shownToken({ token: "é", bytes: [0xc3, 0xa9] })).toBe("é");
  expect(shownToken({ token: "\ufffd" })).toBe("\ufffd");
});

test("perplexity", () => {
  expect(perplexity([])).toBeNull();
  expect(perplexity([Math.log(0.5), Math.log(0.5)])).toBeCloseTo(2);
});
