import { beforeEach, expect, test, vi } from "vitest";

import { TransferMeter } from "../src/state/transfers/meter";
import { readWanted } from "../src/state/transfers/wanted";

test("layers add up, and what was kept does not count as received", () => {
  const meter = new TransferMeter();
  meter.note({ status: "pulling manifest" }, 0);
  expect([meter.doneBytes, meter.totalBytes, meter.rate(0)]).toEqual([0, 0, 0]);
  meter.note({ status: "pulling a", digest: "a", total: 1000, completed: 400 }, 0);
  meter.note({ status: "pulling b", digest: "b", total: 500 }, 1000);
  meter.note({ status: "pulling a", digest: "a", total: 1000, completed: 600 }, 2000);
  expect([meter.doneBytes, meter.totalBytes]).toEqual([600, 1500]);
  expect(meter.rate(2000)).toBe(100);
});

test("the rate is that of the last seconds", () => {
  const meter = new TransferMeter();
  for (let s = 0; s <= 60; s += 1) {
    const completed = s <= 30 ? s * 1000 : 30_000 + (s - 30) * 10;
    meter.note({ status: "", digest: "a", total: 1e6, completed }, s * 1000);
  }
  expect(Math.round(meter.rate(60_000))).toBe(10);
  expect(meter.rate(100_000)).toBe(0);
});

test.each([
  [null, []],
  ["nonsense", []],
  ['{"model":"a"}', []],
  ['[1,null,{"model":""},{"model":7}]', []],
  ['[{"model":"a"},{"model":"a","isInsecure":true}]', [{ model: "a", isInsecure: false, error: "", hint: "" }]],
  [
    '[{"model":"b","isInsecure":true,"error":"no","hint":3,"x":1}]',
    [{ model: "b", isInsecure: true, error: "no", hint: "" }],
  ],
])("what another version stored: %s", (text, wanted) => expect(readWanted(text)).toEqual(wanted));

/** Answers to /api/pull: a stream that the test writes, one for each request. */
interface Answer {
  model: string;
  write: (line: object) => void;
  end: () => void;
  isAborted: () => boolean;
}

const answers: Answer[] = [];

beforeEach(() => {
  vi.resetModules();
  localStorage.clear();
  answers.length = 0;
  vi.stubGlobal("BroadcastChannel", class extends EventTarget { postMessage(): void {} });
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    if (!url.endsWith("/api/pull")) return Promise.resolve(new Response('{"models":[]}'));
    let control!: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (control = controller) });
    init.signal?.addEventListener("abort", () => control.error(new DOMException("x", "AbortError")));
    const encoder = new TextEncoder();
    answers.push({
      model: (JSON.parse(init.body as string) as { model: string }).model,
      write: (line) => control.enqueue(encoder.encode(`${JSON.stringify(line)}\n`)),
      end: () => control.close(),
      isAborted: () => init.signal?.aborted ?? false,
    });
    return Promise.resolve(new Response(body));
  });
});

test("what was wanted is asked for again by the next page, two at a time", async () => {
  const first = await import("../src/state/transfers/pulls");
  first.startPulls();
  for (const model of ["a", "b", "c"]) first.startPull(model, false);
  await vi.waitFor(() => expect(answers.map((each) => each.model)).toEqual(["a", "b"]), { timeout: 60_000 });
  expect(first.pulls.value.map((each) => each.state)).toContain("waiting");

  vi.resetModules();
  answers.length = 0;
  const second = await import("../src/state/transfers/pulls");
  second.startPulls();
  await vi.waitFor(() => expect(answers.map((each) => each.model)).toEqual(["a", "b"]), { timeout: 60_000 });
  answers[0]?.write({ status: "pulling", digest: "sha256:1", total: 100, completed: 50 });
  await vi.waitFor(() => expect(second.pulls.value[0]).toMatchObject({ model: "a", doneBytes: 50, totalBytes: 100 }), { timeout: 60_000 });
  answers[0]?.write({ status: "success" });
  answers[0]?.end();
  await vi.waitFor(() => expect(answers[2]?.model).toBe("c"), { timeout: 60_000 });
  expect(second.pulls.value.map((each) => each.model)).toEqual(["b", "c"]);

  second.cancelPull("b");
  await vi.waitFor(() => expect(answers[1]?.isAborted()).toBe(true), { timeout: 60_000 });
  expect(second.pulls.value.map((each) => each.model)).toEqual(["c"]);
});

test("an error stays until it is tried again, also for the next page", async () => {
  const first = await import("../src/state/transfers/pulls");
  first.startPulls();
  first.startPull("a", true);
  await vi.waitFor(() => expect(answers.length).toBe(1), { timeout: 60_000 });
  answers[0]?.write({ error: "no such model", hint: "look at the name" });
  await vi.waitFor(() => expect(first.pulls.value[0]?.state).toBe("failed"), { timeout: 60_000 });

  vi.resetModules();
  const second = await import("../src/state/transfers/pulls");
  second.startPulls();
  const failed = { model: "a", state: "failed", error: "no such model", hint: "look at the name", isInsecure: true };
  expect(second.pulls.value).toMatchObject([failed]);
  expect(answers.length).toBe(1);
  second.startPull("a", true);
  await vi.waitFor(() => expect(answers.length).toBe(2), { timeout: 60_000 });
});

test("a stream that breaks off is asked for again", async () => {
  const { pulls, startPull, startPulls } = await import("../src/state/transfers/pulls");
  startPulls();
  startPull("a", false);
  await vi.waitFor(() => expect(answers.length).toBe(1), { timeout: 60_000 });
  answers[0]?.write({ status: "pulling", digest: "sha256:1", total: 100, completed: 50 });
  answers[0]?.end();
  await vi.waitFor(() => expect(pulls.value[0]?.state).toBe("offline"), { timeout: 60_000 });
  await vi.waitFor(() => expect(answers.length).toBe(2), { timeout: 20_000, interval: 100 });
}, 30_000);

test("another tab takes a pull off the list", async () => {
  const { pulls, startPull, startPulls } = await import("../src/state/transfers/pulls");
  startPulls();
  startPull("a", false);
  await vi.waitFor(() => expect(answers.length).toBe(1), { timeout: 60_000 });
  dispatchEvent(new StorageEvent("storage", { key: "corral.pulls", newValue: "[]" }));
  await vi.waitFor(() => expect(answers[0]?.isAborted()).toBe(true), { timeout: 60_000 });
  expect(pulls.value).toEqual([]);
});
