import "fake-indexeddb/auto";

import { describe, expect, test } from "vitest";

import { openStore } from "../src/services/chats/idb";
import { MemoryStore } from "../src/services/chats/memory";
import { chatRequest, formatValue, quoted, thinkValue } from "../src/services/chats/request";
import type { ChatStore } from "../src/services/chats/store";
import { originsIn } from "../src/services/chats/toolcall";
import { fromExport, toExport, toMarkdown, UnreadableFileError } from "../src/services/chats/transfer";
import { Tree } from "../src/services/chats/tree";
import type { Chat, ChatSettings, Message, Tool } from "../src/services/chats/types";

const SETTINGS: ChatSettings = { model: "m", system: "", think: "", format: "", options: {}, tools: [] };

function message(id: string, parentId: string | null, part: Partial<Message> = {}): Message {
  return {
    id,
    chatId: "c",
    parentId,
    role: "user",
    createdAt: Number(id.replace(/\D/g, "")) || 0,
    content: id,
    thinking: "",
    attachments: [],
    calls: [],
    model: "",
    state: "done",
    error: "",
    hint: "",
    isEdited: false,
    savedAt: 0,
    stats: {},
    ...part,
  };
}

function chat(part: Partial<Chat> = {}): Chat {
  return { id: "c", title: "A chat", createdAt: 1, updatedAt: 1, folder: "", isPinned: false, leaf: null, settings: SETTINGS, ...part };
}

const nothing = (): Promise<null> => Promise.resolve(null);

describe("branches", () => {
  const tree = new Tree([message("1", null), message("2", "1"), message("3", "2"), message("4", "1"), message("5", "4")]);

  test("a path goes from the first message to the chosen one", () => {
    expect(tree.path("5").map((each) => each.id)).toEqual(["1", "4", "5"]);
    expect(tree.path(null)).toEqual([]);
    expect(tree.path("gone")).toEqual([]);
  });

  test("what stands in the same place are siblings", () => {
    expect(tree.siblings(message("4", "1")).map((each) => each.id)).toEqual(["2", "4"]);
    expect(tree.newestLeaf("2")).toBe("3");
    expect(tree.newestLeaf(null)).toBe("5");
    expect(tree.below("4").sort()).toEqual(["4", "5"]);
  });

  test("a message whose predecessor is gone is still shown; a circle does not hang", () => {
    expect(new Tree([message("2", "gone")]).newestLeaf(null)).toBe("2");
    const circle = new Tree([message("1", "2"), message("2", "1")]);
    expect(circle.path("1").length).toBe(2);
  });
});

describe("requests", () => {
  test("system text, thinking, format, options and tools go where the API has them", async () => {
    const tool: Tool = { id: "t", name: "f", description: "d", parameters: { type: "object" }, url: "", asks: true };
    const settings = { ...SETTINGS, system: "be brief", think: "high", format: '{"type":"object"}', options: { seed: 1 }, tools: ["t"] };
    const request = await chatRequest(settings, [message("1", null)], [tool, { ...tool, id: "u", name: "g" }], nothing);
    expect(request).toEqual({
      model: "m",
      stream: true,
      messages: [
        { role: "system", content: "be brief" },
        { role: "user", content: "1" },
      ],
      think: "high",
      format: { type: "object" },
      options: { seed: 1 },
      tools: [{ type: "function", function: { name: "f", description: "d", parameters: { type: "object" } } }],
    });
  });

  test("nothing is sent that was not chosen", async () => {
    const request = await chatRequest(SETTINGS, [message("1", null)], [], nothing);
    expect(Object.keys(request).sort()).toEqual(["messages", "model", "stream"]);
    expect([thinkValue(""), thinkValue("true"), thinkValue("false"), thinkValue("low")]).toEqual([undefined, true, false, "low"]);
    expect([formatValue(" "), formatValue("json")]).toEqual([undefined, "json"]);
    expect(() => formatValue("[1]")).toThrow();
    expect(() => formatValue("{")).toThrow();
  });

  test("files: texts are quoted in the message, images are beside it, lost ones are left out", async () => {
    const files = new Map([
      ["a", new Blob(["```\ncode\n```\n"])],
      ["b", new Blob([new Uint8Array([1, 2, 3])])],
    ]);
    const attachments = [
      { id: "a", kind: "text" as const, name: "a.md", type: "text/plain", size: 1 },
      { id: "b", kind: "image" as const, name: "b.png", type: "image/png", size: 3 },
      { id: "gone", kind: "image" as const, name: "c.png", type: "image/png", size: 3 },
    ];
    const path = [message("1", null, { content: "look", attachments })];
    const request = await chatRequest(SETTINGS, path, [], (id) => Promise.resolve(files.get(id) ?? null));
    expect(request.messages).toEqual([
      { role: "user", content: "a.md:\n````\n```\ncode\n```\n````\n\nlook", images: ["AQID"] },
    ]);
    expect(quoted({ name: "x" }, "y")).toBe("x:\n```\ny\n```");
  });

  test("calls come with their results, in their order", async () => {
    const calls = [
      { id: "1", name: "f", arguments: { a: 1 }, state: "done" as const, result: "one" },
      { id: "", name: "g", arguments: {}, state: "failed" as const, result: "Error: no" },
    ];
    const answer = message("2", "1", { role: "assistant", content: "", thinking: "hm", calls });
    const { messages } = await chatRequest(SETTINGS, [message("1", null), answer], [], nothing);
    expect(messages.slice(1)).toEqual([
      {
        role: "assistant",
        content: "",
        thinking: "hm",
        tool_calls: [{ id: "1", function: { name: "f", arguments: { a: 1 } } }, { function: { name: "g", arguments: {} } }],
      },
      { role: "tool", content: "one", tool_name: "f", tool_call_id: "1" },
      { role: "tool", content: "Error: no", tool_name: "g" },
    ]);
  });
});

describe.each<[string, () => Promise<ChatStore>]>([
  ["IndexedDB", () => openStore(() => undefined)],
  ["memory", () => Promise.resolve(new MemoryStore())],
])("chats in %s", (_name, open) => {
  test("what is written is read", async () => {
    const store = await open();
    await store.add({ chat: chat(), messages: [message("1", null), message("2", "1")], files: [{ id: "f", chatId: "c", blob: new Blob(["x"]) }] });
    await store.add({ chat: chat({ id: "d" }), messages: [message("3", null, { chatId: "d" })] });
    expect((await store.chats()).map((each) => each.id).sort()).toEqual(["c", "d"]);
    expect((await store.messages("c")).map((each) => each.id).sort()).toEqual(["1", "2"]);
    const seen: string[] = [];
    await store.scan((found) => (seen.push(...found.map((each) => each.id)), true));
    expect(seen.sort()).toEqual(["1", "2", "3"]);
    await store.deleteMessages(["2"]);
    expect((await store.messages("c")).length).toBe(1);
    await store.deleteChat("c");
    expect(await store.messages("c")).toEqual([]);
    expect(await store.file("f")).toBeNull();
    expect((await store.messages("d")).length).toBe(1);
    await store.deleteChat("d");
  });

  test("two tabs change different members of a chat, and none is lost", async () => {
    const store = await open();
    await store.add({ chat: chat() });
    await Promise.all([store.patchChat("c", { title: "new" }), store.patchChat("c", { isPinned: true }), store.patchChat("c", { leaf: "9" })]);
    expect((await store.chats())[0]).toMatchObject({ title: "new", isPinned: true, leaf: "9" });
    await store.patchChat("gone", { title: "x" });
    expect((await store.chats()).length).toBe(1);
    await store.deleteChat("c");
  });
});

describe("export and import", () => {
  test("what was exported comes back as it was, under new ids", async () => {
    const attachment = { id: "f", kind: "image" as const, name: "b.png", type: "image/png", size: 3 };
    const messages = [message("1", null, { attachments: [attachment] }), message("2", "1", { role: "assistant", model: "m", stats: { perS: 3 } })];
    const exported = await toExport(
      [chat({ leaf: "2", folder: "work", isPinned: true })],
      () => Promise.resolve(messages),
      () => Promise.resolve(new Blob([new Uint8Array([1, 2, 3])])),
    );
    const [found] = fromExport(JSON.stringify(exported));
    expect(found?.chat).toMatchObject({ title: "A chat", folder: "work", isPinned: true });
    expect(found?.chat.id).not.toBe("c");
    const tree = new Tree(found?.messages ?? []);
    const path = tree.path(found?.chat.leaf ?? null);
    expect(path.map((each) => each.content)).toEqual(["1", "2"]);
    expect(path.every((each) => each.chatId === found?.chat.id)).toBe(true);
    expect(path[1]?.stats).toEqual({ perS: 3 });
    expect(found?.files[0]?.id).toBe(path[0]?.attachments[0]?.id);
    expect(new Uint8Array(await (found?.files[0]?.blob as Blob).arrayBuffer())).toEqual(new Uint8Array([1, 2, 3]));
  });

  test.each(["", "{", "[]", "{}", '{"format":"corral-chats","version":2,"chats":[]}', '{"format":"corral-chats","version":1}'])(
    "not such a file: %s",
    (text) => expect(() => fromExport(text)).toThrow(UnreadableFileError),
  );

  test("a file from anywhere: what is not as it has to be is left out", () => {
    const hostile = {
      format: "corral-chats",
      version: 1,
      chats: [
        null,
        1,
        { chat: { title: 7, leaf: {}, settings: [] }, messages: [{ id: 1, role: "system", content: {}, calls: [{ arguments: 1 }], stats: { perS: "x" } }, "y"], files: [{ id: 1, data: "%%%" }] },
      ],
    };
    const found = fromExport(JSON.stringify(hostile));
    expect(found.length).toBe(1);
    expect(found[0]?.chat.title).toBe("");
    expect(found[0]?.messages[0]).toMatchObject({ role: "assistant", content: "", parentId: null, stats: {} });
    expect(found[0]?.files).toEqual([]);
  });

  test("as Markdown", () => {
    const text = toMarkdown(chat({ settings: { ...SETTINGS, system: "be brief" } }), [
      message("1", null, { content: "Hi" }),
      message("2", "1", { role: "assistant", model: "m", content: "Hello", thinking: "hm" }),
    ]);
    expect(text).toBe(
      "# A chat\n\n> be brief\n\n## User\n\nHi\n\n## m\n\n<details><summary>Thinking</summary>\n\nhm\n\n</details>\n\nHello\n",
    );
  });
});

test("the origins that the policy of the page allows", () => {
  expect(originsIn("default-src 'none'; connect-src 'self' https://tools.lan:8443; img-src *")).toEqual(["https://tools.lan:8443"]);
  expect(originsIn("connect-src 'self'")).toEqual([]);
  expect(originsIn("")).toEqual([]);
});
