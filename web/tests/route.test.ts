import { expect, test } from "vitest";

import { link, parseRoute } from "../src/state/route";

test.each([
  ["", "", []],
  ["#/", "", []],
  ["#/models", "models", []],
  ["#/models/hf.co%2Fa%2Fb%3Aq4", "models", ["hf.co/a/b:q4"]],
  ["#/chat/%E0%A4%A", "chat", ["%E0%A4%A"]],
  ["#chat//x", "chat", ["x"]],
])("%s", (text, page, rest) => {
  expect(parseRoute(text)).toEqual({ page, rest });
});

test("what is linked is what is read", () => {
  for (const name of ["qwen3:8b", "a/b c", "ä%/#?", ".."]) {
    expect(parseRoute(link("models", name))).toEqual({ page: "models", rest: [name] });
  }
});
