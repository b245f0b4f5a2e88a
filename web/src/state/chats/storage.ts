import { signal } from "@preact/signals";

import { openStore } from "../../services/chats/idb";
import { MemoryStore } from "../../services/chats/memory";
import { problemOf, type ChatStore, type StorageProblem } from "../../services/chats/store";

/** Why what is written now may not be kept; null: it is kept. */
export const storageProblem = signal<StorageProblem | null>(null);

/** What changed in the store, for the other tabs that show it. */
export type Change =
  | { kind: "chat"; chatId: string }
  | { kind: "messages"; chatId: string }
  | { kind: "tools" }
  /** Which tab writes this message? The one that does answers with `mine`. */
  | { kind: "whose"; messageId: string }
  | { kind: "mine"; messageId: string };

let opened: Promise<ChatStore> | null = null;
const channel = typeof BroadcastChannel === "function" ? new BroadcastChannel("corral") : null;

/** The store; one in memory, with `storageProblem` set, where the browser has none for us. */
export function store(): Promise<ChatStore> {
  opened ??= openStore(() => (storageProblem.value = "outdated")).catch((error: unknown) => {
    storageProblem.value = problemOf(error);
    return new MemoryStore();
  });
  return opened;
}

/** Write, and tell the other tabs. A failure is shown, and does not stop what is going on. */
export async function write(change: Change, work: (store: ChatStore) => Promise<void>): Promise<boolean> {
  try {
    await work(await store());
    if (storageProblem.peek() === "full") storageProblem.value = null;
    channel?.postMessage(change);
    return true;
  } catch (error) {
    console.warn("not kept:", error);
    storageProblem.value = problemOf(error);
    return false;
  }
}

// Files that could not be kept, for as long as the tab is open: they are still sent and shown.
const unkept = new Map<string, Blob>();

export function holdFile(id: string, blob: Blob): void {
  unkept.set(id, blob);
}

/** The file of an attachment; null if it is gone. */
export async function fileOf(id: string): Promise<Blob | null> {
  return unkept.get(id) ?? (await store()).file(id);
}

export function tell(change: Change): void {
  channel?.postMessage(change);
}

export function onChange(listen: (change: Change) => void): void {
  channel?.addEventListener("message", (event: MessageEvent<Change>) => listen(event.data));
}

/** Ask the browser not to clear the chats when the disk is full. Some browsers ask the reader. */
export function askToKeep(): void {
  void navigator.storage?.persist?.().catch(() => undefined);
}
