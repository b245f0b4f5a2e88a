import { beforeEach, expect, test, vi } from "vitest";

let answer = new Response();

beforeEach(() => {
  vi.resetModules();
  sessionStorage.clear();
  vi.stubGlobal("fetch", () => Promise.resolve(answer));
});

test("a key that is not for admins does not have their page in the navigation; one that is has it", async () => {
  const { enterKey, forgetKey } = await import("../src/state/session");
  const { listedPages } = await import("../src/pages/table");
  const isThere = (): boolean => listedPages().some((each) => each.id === "admin");
  expect(isThere()).toBe(true);
  answer = new Response('{"scopes":["infer","read"]}');
  enterKey("ck_1");
  await vi.waitFor(() => expect(isThere()).toBe(false), { timeout: 60_000 });
  answer = new Response('{"scopes":["admin"]}');
  enterKey("ck_2");
  await vi.waitFor(() => expect(isThere()).toBe(true), { timeout: 60_000 });
  answer = new Response('{"scopes":["infer"]}');
  enterKey("ck_3");
  await vi.waitFor(() => expect(isThere()).toBe(false), { timeout: 60_000 });
  forgetKey();
  expect(isThere()).toBe(true);
});

test("where the server does not know the key, nobody is asked for another one because of that", async () => {
  const { enterKey, keyQuestion } = await import("../src/state/session");
  const { listedPages } = await import("../src/pages/table");
  answer = new Response('{"error":"the request has no API key"}', { status: 401 });
  enterKey("ck_1");
  await vi.waitFor(() => expect(answer.bodyUsed).toBe(true), { timeout: 60_000 });
  await new Promise((resolve) => setTimeout(resolve));
  expect(keyQuestion.value).toBeNull();
  expect(listedPages().map((each) => each.id)).toContain("admin");
});
