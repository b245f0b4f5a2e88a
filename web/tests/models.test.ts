import { expect, test } from "vitest";

import { plainName } from "../src/components/Name";
import { capabilitiesOf, listed, parameterCount, type Listing } from "../src/pages/models/listing";
import {
  lineOfError,
  mayBeInsecure,
  modelNameOf,
  rangeOfLine,
  readParameters,
  withoutLine,
} from "../src/pages/models/reading";
import type { ModelEntry } from "../src/services/api/types";

function model(name: string, size: number, parameters: string, capabilities: string[]): ModelEntry {
  return {
    name,
    model: name,
    modified_at: `2026-01-0${size}T00:00:00Z`,
    size,
    digest: "",
    capabilities,
    details: { format: "gguf", family: "llama", families: null, parameter_size: parameters, quantization_level: "Q4_0" },
  };
}

const all = [model("b:10", 1, "8.0B", ["tools"]), model("b:9", 2, "900M", ["vision", "tools"]), model("a", 3, "", [])];
const plain: Listing = { text: "", capability: "", by: "name", isDescending: false };

test.each<[Partial<Listing>, string[]]>([
  [{}, ["a", "b:9", "b:10"]],
  [{ by: "size", isDescending: true }, ["a", "b:9", "b:10"]],
  [{ by: "parameters" }, ["a", "b:9", "b:10"]],
  [{ by: "modified" }, ["b:10", "b:9", "a"]],
  [{ by: "context" }, ["a", "b:10", "b:9"]],
  [{ capability: "vision" }, ["b:9"]],
  [{ text: "B 8.0" }, ["b:10"]],
  [{ text: "q4_0 llama" }, ["a", "b:9", "b:10"]],
  [{ text: "<img onerror>" }, []],
])("listed: %o", (change, names) => {
  expect(listed(all, { ...plain, ...change }).map((each) => each.name)).toEqual(names);
});

test("capabilities of all models, each once", () => expect(capabilitiesOf(all)).toEqual(["tools", "vision"]));

test.each([["8.0B", 8e9], ["134.52M", 134.52e6], ["89K", 89e3], ["7", 7], ["", 0], ["unknown", 0]])(
  "%s parameters",
  (text, count) => expect(parameterCount(text)).toBe(count),
);

test.each([
  ["SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct.q4_1"],
  ["Big-00001-of-00003.gguf", "big"],
  ["../../etc/passwd.GGUF", "etc-passwd"],
  ["<img src=x onerror=alert(1)>.gguf", "img-src-x-onerror-alert-1"],
  ["模型.gguf", "my-model"],
  ["a\u202egguf.gguf", "a-gguf"],
  [`${"x".repeat(300)}.gguf`, "x".repeat(80)],
])("a model of the file %s", (file, name) => expect(modelNameOf(file)).toBe(name));

test.each([
  ["localhost:5000/a", true],
  ["registry.example.com/a/b:c", true],
  ["localhost/a", true],
  ["http://10.0.0.1:5000/a", true],
  ["qwen3:0.6b", false],
  ["user/model.v1:8b", false],
  ["hf.co/a/b:Q4", false],
  ["registry.ollama.ai/library/x", false],
])("%s may be a registry without TLS: %s", (name, is) => expect(mayBeInsecure(name)).toBe(is));

test("errors of a Modelfile name their line", () => {
  const error = "modelfile in line 12: (line 12): command must be one of \"from\": 'BLAH' is not a command";
  expect(lineOfError(error)).toBe(12);
  expect(withoutLine(error)).toBe("command must be one of \"from\": 'BLAH' is not a command");
  expect(lineOfError("template error: template: :1: unclosed action")).toBeNull();
});

test.each([
  ["a\nbb\nccc", 1, "a"],
  ["a\nbb\nccc", 2, "bb"],
  ["a\r\nbb\r\nccc", 3, "ccc"],
  ["a\rbb", 2, "bb"],
  ["a", 9, ""],
])("line of %j, %i", (text, line, wanted) => {
  expect(text.slice(...rangeOfLine(text, line))).toBe(wanted);
});

test("parameters, with values that have spaces", () => {
  expect(readParameters('num_ctx     2048\nstop        "<|im end|>"\n\n')).toEqual([
    { name: "num_ctx", value: "2048" },
    { name: "stop", value: '"<|im end|>"' },
  ]);
});

test("what hides in a name is shown", () => {
  expect(plainName("qwen\u202e3b\u200b\u0000\u2066x")).toBe("qwen\ufffd3b\ufffd\ufffd\ufffdx");
  expect(plainName("<b>קוון é 模型 😀")).toBe("<b>קוון é 模型 😀");
});
