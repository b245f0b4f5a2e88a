import { openDB, type DBSchema, type IDBPDatabase } from "idb";

import type { ChatStore } from "./store";
import type { Chat, Message, StoredFile, Tool } from "./types";

interface Schema extends DBSchema {
  chats: { key: string; value: Chat };
  messages: { key: string; value: Message; indexes: { chatId: string } };
  files: { key: string; value: StoredFile; indexes: { chatId: string } };
  tools: { key: string; value: Tool };
}

const NAME = "corral";
const VERSION = 1;
const BATCH = 500;

/**
 * Chats in IndexedDB. `onOutdated` is called when a newer version of the page, in another tab, needs the database: it is
 * closed then, and every later call fails.
 *
 * @throws DOMException: VersionError if a newer version has been here, others if the browser forbids storage.
 */
export async function openStore(onOutdated: () => void): Promise<ChatStore> {
  const database = await openDB<Schema>(NAME, VERSION, {
    upgrade(created) {
      created.createObjectStore("chats", { keyPath: "id" });
      created.createObjectStore("messages", { keyPath: "id" }).createIndex("chatId", "chatId");
      created.createObjectStore("files", { keyPath: "id" }).createIndex("chatId", "chatId");
      created.createObjectStore("tools", { keyPath: "id" });
    },
    blocking() {
      database.close();
      onOutdated();
    },
  });
  return new DatabaseStore(database);
}

class DatabaseStore implements ChatStore {
  readonly isLasting = true;

  constructor(private readonly database: IDBPDatabase<Schema>) {}

  chats(): Promise<Chat[]> {
    return this.database.getAll("chats");
  }

  messages(chatId: string): Promise<Message[]> {
    return this.database.getAllFromIndex("messages", "chatId", chatId);
  }

  async file(id: string): Promise<Blob | null> {
    return (await this.database.get("files", id))?.blob ?? null;
  }

  tools(): Promise<Tool[]> {
    return this.database.getAll("tools");
  }

  async scan(look: (messages: Message[]) => boolean): Promise<void> {
    let last = "";
    for (;;) {
      const range = last ? IDBKeyRange.lowerBound(last, true) : undefined;
      const found = await this.database.getAll("messages", range, BATCH);
      last = found.at(-1)?.id ?? "";
      if (!last || !look(found) || found.length < BATCH) return;
    }
  }

  async patchChat(id: string, change: Partial<Chat>): Promise<void> {
    const work = this.database.transaction("chats", "readwrite", { durability: "strict" });
    const known = await work.store.get(id);
    if (known) await work.store.put({ ...known, ...change });
    await work.done;
  }

  async add({ chat, messages = [], files = [] }: Parameters<ChatStore["add"]>[0]): Promise<void> {
    const work = this.database.transaction(["chats", "messages", "files"], "readwrite", { durability: "strict" });
    await Promise.all([
      ...(chat ? [work.objectStore("chats").put(chat)] : []),
      ...messages.map((each) => work.objectStore("messages").put(each)),
      ...files.map((each) => work.objectStore("files").put(each)),
      work.done,
    ]);
  }

  async putTool(tool: Tool): Promise<void> {
    await this.database.put("tools", tool);
  }

  async deleteTool(id: string): Promise<void> {
    await this.database.delete("tools", id);
  }

  async deleteMessages(ids: string[]): Promise<void> {
    const work = this.database.transaction("messages", "readwrite");
    await Promise.all([...ids.map((id) => work.store.delete(id)), work.done]);
  }

  async deleteChat(id: string): Promise<void> {
    const work = this.database.transaction(["chats", "messages", "files"], "readwrite");
    await work.objectStore("chats").delete(id);
    for (const name of ["messages", "files"] as const) {
      const store = work.objectStore(name);
      for (const key of await store.index("chatId").getAllKeys(id)) await store.delete(key);
    }
    await work.done;
  }
}
