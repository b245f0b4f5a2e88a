import type { Chat, Message, StoredFile, Tool } from "./types";

/** Why chats are not kept: the browser forbids it, there is no room, or a newer version of the page has been here. */
export type StorageProblem = "blocked" | "full" | "newer" | "outdated";

/** Where chats are. Every write is complete, or has failed, when its promise settles. */
export interface ChatStore {
  /** Whether what is written is still there after a reload. */
  readonly isLasting: boolean;
  chats(): Promise<Chat[]>;
  messages(chatId: string): Promise<Message[]>;
  file(id: string): Promise<Blob | null>;
  tools(): Promise<Tool[]>;
  /** Call with every message of every chat, some at a time, until it returns false. */
  scan(look: (messages: Message[]) => boolean): Promise<void>;
  /** Change members of a chat, and only these: another tab may change others at the same time. */
  patchChat(id: string, change: Partial<Chat>): Promise<void>;
  /** Add a chat, messages and files together, or none of them. */
  add(parts: { chat?: Chat; messages?: Message[]; files?: StoredFile[] }): Promise<void>;
  putTool(tool: Tool): Promise<void>;
  deleteTool(id: string): Promise<void>;
  deleteMessages(ids: string[]): Promise<void>;
  /** Remove a chat with all that belongs to it. */
  deleteChat(id: string): Promise<void>;
}

export function problemOf(error: unknown): StorageProblem {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "QuotaExceededError") return "full";
  if (name === "VersionError") return "newer";
  if (name === "InvalidStateError") return "outdated";
  return "blocked";
}
