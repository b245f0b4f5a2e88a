import { createHash } from "node:crypto";

import { expect, test, vi } from "vitest";

import type { DigestReport } from "../src/services/digest";

/** The worker's code, run here: what it would send to the page. */
async function digestOf(file: Blob): Promise<DigestReport[]> {
  const reports: DigestReport[] = [];
  vi.resetModules();
  vi.stubGlobal("postMessage", (report: DigestReport) => reports.push(report));
  await import("../src/services/digest/worker");
  globalThis.onmessage?.call(window as never, new MessageEvent("message", { data: file }));
  await vi.waitFor(() => expect(reports.at(-1)?.kind).not.toBe("read"), { timeout: 60_000 });
  await vi.waitFor(() => expect(reports.length).toBeGreaterThan(0), { timeout: 60_000 });
  return reports;
}

/** A file that comes in pieces, as one on a disk does. */
function inPieces(bytes: Uint8Array, size: number): Blob {
  const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.slice(at * size, (at + 1) * size));
  const pull = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
    const next = pieces.shift();
    if (next) controller.enqueue(next);
    else controller.close();
  };
  return { stream: () => new ReadableStream({ pull }) } as unknown as Blob;
}

test.each([0, 1, 55, 56, 64, 100_000, 20_000_000])("the digest of %i bytes is that of another SHA-256", async (size) => {
  const bytes = new Uint8Array(size).map((_, at) => (at * 31 + (at >> 8)) & 255);
  const reports = await digestOf(inPieces(bytes, 999_983));
  expect(reports.at(-1)).toEqual({ kind: "done", digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}` });
  if (size > 16_000_000) expect(reports.length).toBeGreaterThan(2);
}, 120_000);

test("a file that cannot be read is an error", async () => {
  const broken = { stream: () => new ReadableStream({ pull: () => Promise.reject(new Error("it was moved")) }) };
  expect(await digestOf(broken as unknown as Blob)).toEqual([{ kind: "failed", message: "it was moved" }]);
});
