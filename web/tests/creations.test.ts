import { beforeEach, expect, test, vi } from "vitest";

const digestOf = vi.fn<(file: File, onRead: (bytes: number) => void, ended: AbortSignal) => Promise<string>>();
const uploadBlob = vi.fn<(digest: string, file: File, onSent: (bytes: number) => void, ended: AbortSignal) => Promise<void>>();
vi.mock("../src/services/digest", () => ({ digestOf }));
vi.mock("../src/services/api/upload", () => ({ uploadBlob }));

const calls: { path: string; method: string; body: unknown }[] = [];
let stored = new Set<string>();

beforeEach(() => {
  vi.resetModules();
  calls.length = 0;
  stored = new Set();
  digestOf.mockReset().mockImplementation(async (file, onRead) => (onRead(file.size), `sha256:${file.name}`));
  uploadBlob.mockReset().mockResolvedValue();
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    const path = new URL(url).pathname;
    const method = init.method ?? "GET";
    calls.push({ path, method, body: typeof init.body === "string" ? JSON.parse(init.body) : null });
    if (method === "HEAD") {
      const isThere = stored.has(path.replace("/api/blobs/", ""));
      return Promise.resolve(new Response(null, { status: isThere ? 200 : 404 }));
    }
    const text = path === "/api/create" ? '{"status":"parsing GGUF"}\n{"status":"success"}\n' : '{"models":[]}';
    return Promise.resolve(new Response(text));
  });
});

function gguf(name: string): File {
  return new File([new Uint8Array([0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0])], name);
}

test("each file is named by its digest, sent if the server has it not, and made into a model", async () => {
  stored.add("sha256:b.gguf");
  const { createOfFiles, creations } = await import("../src/state/transfers/creations");
  createOfFiles({ model: "mine", files: [gguf("a.gguf"), gguf("b.gguf")], quantize: "Q4_K_M" });
  await vi.waitFor(() => expect(calls.some((each) => each.path === "/api/tags")).toBe(true), { timeout: 60_000 });
  expect(uploadBlob.mock.calls.map(([digest]) => digest)).toEqual(["sha256:a.gguf"]);
  expect(calls.find((each) => each.path === "/api/create")?.body).toEqual({
    model: "mine",
    files: { "a.gguf": "sha256:a.gguf", "b.gguf": "sha256:b.gguf" },
    quantize: "Q4_K_M",
  });
  expect(creations.value).toEqual([]);
});

test("what is no GGUF file is refused before anything is read or sent", async () => {
  const { createOfFiles, creations } = await import("../src/state/transfers/creations");
  createOfFiles({ model: "mine", files: [gguf("a.gguf"), new File(["hello"], "b.gguf")], quantize: "" });
  await vi.waitFor(() => expect(creations.value[0]?.stage).toBe("failed"), { timeout: 60_000 });
  expect(creations.value[0]?.error).toContain("b.gguf");
  expect(digestOf).not.toHaveBeenCalled();
  expect(calls).toEqual([]);
});

test("an upload that fails says why, and can be tried again", async () => {
  uploadBlob.mockRejectedValueOnce(new Error("no space left"));
  const { createOfFiles, creations, retryCreation } = await import("../src/state/transfers/creations");
  createOfFiles({ model: "mine", files: [gguf("a.gguf")], quantize: "" });
  await vi.waitFor(() => expect(creations.value[0]).toMatchObject({ stage: "failed", error: "no space left" }), { timeout: 60_000 });
  retryCreation(creations.value[0]?.id ?? 0);
  await vi.waitFor(() => expect(creations.value).toEqual([]), { timeout: 60_000 });
  expect(uploadBlob).toHaveBeenCalledTimes(2);
});

test("one that is stopped ends what is under way, and is off the list", async () => {
  let ended: AbortSignal | undefined;
  digestOf.mockImplementation((_file, _onRead, given) => {
    ended = given;
    return new Promise((_resolve, reject) => {
      given.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
    });
  });
  const { createOfFiles, creations, endCreation } = await import("../src/state/transfers/creations");
  createOfFiles({ model: "mine", files: [gguf("a.gguf")], quantize: "" });
  await vi.waitFor(() => expect(ended).toBeDefined(), { timeout: 60_000 });
  endCreation(creations.value[0]?.id ?? 0);
  expect(ended?.aborted).toBe(true);
  expect(creations.value).toEqual([]);
});
