import { beforeEach, expect, test, vi } from "vitest";

import { address, call, callJson, useKeys } from "../src/services/api/client";
import { ApiError, readError } from "../src/services/api/errors";
import { streamEvents, streamObjects } from "../src/services/api/stream";

const asked: { url: string; init: RequestInit }[] = [];

/** Answers with the given responses, one after the other. */
function serve(...responses: Response[]): void {
  asked.length = 0;
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    asked.push({ url, init });
    const next = responses.shift();
    return next ? Promise.resolve(next) : Promise.reject(new TypeError("failed to fetch"));
  });
}

function pieces(...texts: string[]): Response {
  const encoder = new TextEncoder();
  return new Response(
    new ReadableStream({
      start(controller) {
        for (const text of texts) controller.enqueue(encoder.encode(text));
        controller.close();
      },
    }),
  );
}

beforeEach(() => useKeys({ current: () => "", ask: () => Promise.resolve(null) }));

test("the key goes into the header alone, and no cookie is sent", async () => {
  useKeys({ current: () => "ck_1", ask: () => Promise.resolve(null) });
  serve(new Response("{}"));
  await callJson("/api/tags");
  expect(asked[0]?.url).toBe(address("/api/tags"));
  expect(asked[0]?.url).not.toContain("ck_1");
  expect(asked[0]?.init.headers).toMatchObject({ Authorization: "Bearer ck_1" });
  expect(asked[0]?.init.credentials).toBe("omit");
});

test("a refusal for want of a key asks for one and tries again", async () => {
  const questions: boolean[] = [];
  const answers = ["ck_wrong", "ck_right"];
  useKeys({
    current: () => "",
    ask: (refused) => (questions.push(refused), Promise.resolve(answers.shift() ?? null)),
  });
  serve(new Response("{}", { status: 401 }), new Response("{}", { status: 401 }), new Response('{"models":[]}'));
  expect(await callJson("/api/tags")).toEqual({ models: [] });
  expect(asked.length).toBe(3);
  expect(asked[2]?.init.headers).toMatchObject({ Authorization: "Bearer ck_right" });
});

test("whoever gives no key gets the server's refusal", async () => {
  serve(new Response('{"error":"a valid API key is required","hint":"make one"}', { status: 401 }));
  await expect(call("/api/tags")).rejects.toMatchObject({ status: 401, message: "a valid API key is required", hint: "make one" });
});

test("a server that is not there is another error than one that refuses", async () => {
  serve();
  const error = await call("/api/tags").catch((each: unknown) => each);
  expect(error).toBeInstanceOf(ApiError);
  expect((error as ApiError).isOffline).toBe(true);
});

test.each([
  ['{"error":"no"}', "no", ""],
  ['{"error":"no","hint":"do"}', "no", "do"],
  ['{"error":{"message":"no","type":"x","hint":"do"}}', "no", "do"],
  ["<html>bad gateway</html>", "<html>bad gateway</html>", ""],
  ["[1]", "", ""],
  ["", "", ""],
])("errors in any form: %s", (body, message, hint) => {
  expect(readError(body)).toEqual({ message, hint });
});

test("lines are put together however the stream is cut, within characters too", async () => {
  const text = '{"a":"ä€😀"}\n{"a":"b"}\r\n\n{"a":"last"}';
  const bytes = new TextEncoder().encode(text);
  for (let cut = 1; cut < bytes.length; cut += 1) {
    serve(new Response(new Blob([bytes.slice(0, cut), bytes.slice(cut)]).stream()));
    const found: unknown[] = [];
    for await (const each of streamObjects("/api/chat", { body: {} })) found.push(each);
    expect(found).toEqual([{ a: "ä€😀" }, { a: "b" }, { a: "last" }]);
  }
});

test("an error within a stream is thrown after what came before it", async () => {
  serve(pieces('{"n":1}\n', '{"error":"the engine stopped","hint":"try again"}\n'));
  const found: unknown[] = [];
  const run = async (): Promise<void> => {
    for await (const each of streamObjects("/api/chat", { body: {} })) found.push(each);
  };
  await expect(run()).rejects.toMatchObject({ message: "the engine stopped", hint: "try again" });
  expect(found).toEqual([{ n: 1 }]);
});

test("server-sent events, with ids, comments and several lines of data", async () => {
  serve(pieces(": hello\n\nid: 7\nevent: load\nda", "ta: {\"a\":\ndata: 1}\n\n: nothing\n\ndata:x\n\n"));
  const found = [];
  for await (const each of streamEvents("/api/events", {})) found.push(each);
  expect(found).toEqual([
    { id: "7", event: "load", data: '{"a":\n1}' },
    { id: "7", event: "message", data: "x" },
  ]);
});
