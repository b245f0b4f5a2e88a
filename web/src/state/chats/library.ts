import { batch, computed, signal } from "@preact/signals";

import type { Chat, ChatSettings, Message } from "../../services/chats/types";
import { newId } from "../../services/ids";
import { readLocal, writeLocal } from "../../services/storage/small";
import { askToKeep, onChange, store, write } from "./storage";

const PURGE_AFTER_MS = 60_000;
const TITLE_CHARS = 60;

/** All chats by id; null before they were read. */
const known = signal<ReadonlyMap<string, Chat> | null>(null);

export const isLibraryReady = computed(() => known.value !== null);

/** Chats that are not deleted: pinned ones first, then the newest. */
export const chats = computed(() =>
  [...(known.value?.values() ?? [])]
    .filter((each) => each.deletedAt === undefined)
    .sort((one, other) => Number(other.isPinned) - Number(one.isPinned) || other.updatedAt - one.updatedAt),
);

export const folders = computed(() =>
  [...new Set(chats.value.map((each) => each.folder).filter(Boolean))].sort((one, other) => one.localeCompare(other)),
);

export function chatOf(id: string): Chat | undefined {
  return known.value?.get(id);
}

export async function startLibrary(): Promise<void> {
  const kept = await store();
  const found = await kept.chats();
  known.value = new Map(found.map((each) => [each.id, each]));
  onChange((change) => {
    if (change.kind === "chat") void reread(change.chatId);
  });
  for (const each of found) if (isToPurge(each)) void kept.deleteChat(each.id).then(() => forget(each.id));
}

function isToPurge(chat: Chat): boolean {
  return chat.deletedAt !== undefined && Date.now() - chat.deletedAt > PURGE_AFTER_MS;
}

async function reread(id: string): Promise<void> {
  const found = (await (await store()).chats()).find((each) => each.id === id);
  if (found) remember(found);
  else forget(id);
}

function remember(chat: Chat): void {
  known.value = new Map(known.peek() ?? []).set(chat.id, chat);
}

function forget(id: string): void {
  const rest = new Map(known.peek() ?? []);
  rest.delete(id);
  known.value = rest;
}

/** What a new chat begins with: what the reader chose last. */
export function defaultSettings(): ChatSettings {
  const plain: ChatSettings = { model: "", system: "", think: "", format: "", options: {}, tools: [] };
  try {
    return { ...plain, ...(JSON.parse(readLocal("chat-settings") ?? "{}") as Partial<ChatSettings>) };
  } catch {
    return plain;
  }
}

/** Take these as the beginning of new chats. */
export function keepAsDefault(settings: ChatSettings): void {
  writeLocal("chat-settings", JSON.stringify(settings));
}

export function newChat(settings: ChatSettings, first: string): Chat {
  const now = Date.now();
  return {
    id: newId(),
    title: titleOf(first),
    createdAt: now,
    updatedAt: now,
    folder: "",
    isPinned: false,
    leaf: null,
    settings,
  };
}

/** The first line of a text, cut at a word. */
export function titleOf(text: string): string {
  const line = text.trim().split("\n")[0]?.trim() ?? "";
  if (line.length <= TITLE_CHARS) return line;
  const cut = line.slice(0, TITLE_CHARS);
  const space = cut.lastIndexOf(" ");
  return `${cut.slice(0, space > TITLE_CHARS / 2 ? space : TITLE_CHARS).trimEnd()}…`;
}

export async function addChat(chat: Chat, messages: Message[] = [], files: { id: string; blob: Blob }[] = []): Promise<void> {
  remember(chat);
  const stored = files.map((each) => ({ ...each, chatId: chat.id }));
  await write({ kind: "chat", chatId: chat.id }, (kept) => kept.add({ chat, messages, files: stored }));
  askToKeep();
}

/** Change members of a chat here, in the store and in the other tabs. */
export async function changeChat(id: string, change: Partial<Chat>): Promise<void> {
  const chat = known.peek()?.get(id);
  if (!chat) return;
  remember({ ...chat, ...change });
  await write({ kind: "chat", chatId: id }, (kept) => kept.patchChat(id, change));
}

export async function changeSettings(id: string, change: Partial<ChatSettings>): Promise<void> {
  const chat = known.peek()?.get(id);
  if (chat) await changeChat(id, { settings: { ...chat.settings, ...change } });
}

/** Hide a chat now and remove it in a minute; until then `restoreChat` brings it back. */
export async function deleteChat(id: string): Promise<void> {
  await changeChat(id, { deletedAt: Date.now() });
  setTimeout(() => void purge(id), PURGE_AFTER_MS + 1000);
}

export async function restoreChat(id: string): Promise<void> {
  await changeChat(id, { deletedAt: undefined });
}

async function purge(id: string): Promise<void> {
  const chat = known.peek()?.get(id);
  if (!chat || !isToPurge(chat)) return;
  if (await write({ kind: "chat", chatId: id }, (kept) => kept.deleteChat(id))) forget(id);
}

export async function deleteAllChats(): Promise<void> {
  const ids = [...(known.peek()?.keys() ?? [])];
  for (const id of ids) await write({ kind: "chat", chatId: id }, (kept) => kept.deleteChat(id));
  batch(() => ids.forEach(forget));
}
