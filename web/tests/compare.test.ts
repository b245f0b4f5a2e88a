import { beforeEach, expect, test, vi } from "vitest";

import type { Lane } from "../src/pages/compare/race";

interface Asked {
  model: string;
  body: Record<string, unknown>;
  write: (line: object) => void;
  end: () => void;
  isAborted: () => boolean;
}
const asked: Asked[] = [];

beforeEach(() => {
  vi.resetModules();
  localStorage.clear();
  asked.length = 0;
  vi.stubGlobal("fetch", (_url: string, init: RequestInit) => {
    let control!: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (control = controller) });
    init.signal?.addEventListener("abort", () => control.error(new DOMException("x", "AbortError")));
    const sent = JSON.parse(init.body as string) as Record<string, unknown>;
    asked.push({
      model: String(sent["model"]),
      body: sent,
      write: (line) => control.enqueue(new TextEncoder().encode(`${JSON.stringify(line)}\n`)),
      end: () => control.close(),
      isAborted: () => init.signal?.aborted ?? false,
    });
    return Promise.resolve(new Response(body));
  });
});

const question = { prompt: "hi", system: "be short", options: { seed: 1 }, isInTurn: true };
const last = { message: { content: "" }, done: true, eval_count: 20, eval_duration: 2e9, load_duration: 5e6 };

test("in turn: the second model is asked when the first has answered", async () => {
  const { ask, lanes, setModels } = await import("../src/pages/compare/race");
  setModels(["a", "b"]);
  const done = ask(question);
  await vi.waitFor(() => expect(asked.length).toBe(1), { timeout: 60_000 });
  expect(asked[0]?.body).toMatchObject({
    messages: [
      { role: "system", content: "be short" },
      { role: "user", content: "hi" },
    ],
    options: { seed: 1 },
  });
  expect(lanes.value.map((each) => each.state)).toEqual(["waiting", "waiting"]);
  asked[0]?.write({ message: { content: "he" }, done: false });
  asked[0]?.write(last);
  asked[0]?.end();
  await vi.waitFor(() => expect(asked.length).toBe(2), { timeout: 60_000 });
  expect(lanes.value[0]).toMatchObject({ state: "done", text: "he", tokens: 20, perS: 10, loadMs: 5 });
  asked[1]?.write({ error: "no memory", hint: "free some" });
  await done;
  expect(lanes.value[1]).toMatchObject({ state: "failed", error: { message: "no memory", hint: "free some" } });
});

test("together: all are asked at once; one is stopped, then all", async () => {
  const { ask, isBusy, lanes, setModels, stop, stopAll } = await import("../src/pages/compare/race");
  setModels(["a", "b", "c"]);
  const done = ask({ ...question, isInTurn: false });
  await vi.waitFor(() => expect(asked.length).toBe(3), { timeout: 60_000 });
  asked[1]?.write({ message: { content: "half an ans" }, done: false });
  await vi.waitFor(() => expect(lanes.value[1]?.state).toBe("running"), { timeout: 60_000 });
  stop(lanes.value[1]?.id ?? 0);
  await vi.waitFor(() => expect(lanes.value[1]).toMatchObject({ state: "stopped", text: "half an ans" }), { timeout: 60_000 });
  expect(asked.map((each) => each.isAborted())).toEqual([false, true, false]);
  stopAll();
  await done;
  expect(lanes.value.map((each) => each.state)).toEqual(["stopped", "stopped", "stopped"]);
  expect(isBusy.value).toBe(false);
});

test("in turn: what waits is never asked after all were stopped", async () => {
  const { ask, lanes, setModels, stopAll } = await import("../src/pages/compare/race");
  setModels(["a", "b"]);
  const done = ask(question);
  await vi.waitFor(() => expect(asked.length).toBe(1), { timeout: 60_000 });
  stopAll();
  await done;
  expect(asked.length).toBe(1);
  expect(lanes.value.map((each) => each.state)).toEqual(["stopped", "stopped"]);
});

test("the models are there again on the next page, four at most", async () => {
  const first = await import("../src/pages/compare/race");
  first.setModels(["a", "b", "c", "d", "e"]);
  vi.resetModules();
  const second = await import("../src/pages/compare/race");
  expect(second.lanes.value.map((each) => each.model)).toEqual(["a", "b", "c", "d"]);
});

test("the best of those that ended, if there are two", async () => {
  const { best } = await import("../src/pages/compare/race");
  const lane = (id: number, state: Lane["state"], perS: number | null): Lane =>
    ({ id, state, perS }) as unknown as Lane;
  const speed = (each: Lane): number | null => each.perS;
  expect(best([lane(1, "done", 5)], speed, true)).toEqual(new Set());
  expect(best([lane(1, "done", 5), lane(2, "done", 7), lane(3, "running", 9)], speed, true)).toEqual(new Set([2]));
  expect(best([lane(1, "done", 5), lane(2, "done", 5)], speed, false)).toEqual(new Set([1, 2]));
});
