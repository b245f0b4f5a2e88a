import type { Message } from "../../services/chats/types";
import { chatOf, chats } from "./library";
import { store } from "./storage";

export interface Match {
  chatId: string;
  /** The message with the text; null: the title has it. */
  messageId: string | null;
  /** The text around the match: before it, itself, and after it. */
  before: string;
  match: string;
  after: string;
}

const AROUND = 36;
const MOST = 60;

/** Chats that have a text in a message or in the title, a match for each chat, the newest chat first. */
export async function searchChats(wanted: string, isCurrent: () => boolean): Promise<Match[]> {
  const needle = wanted.trim().toLocaleLowerCase();
  if (!needle) return [];
  const found = new Map<string, Match>();
  for (const chat of chats.peek()) {
    const match = matchIn(chat.title, needle);
    if (match) found.set(chat.id, { ...match, chatId: chat.id, messageId: null });
  }
  await (await store()).scan((messages) => {
    for (const each of messages) collect(found, each, needle);
    return isCurrent();
  });
  const order = new Map(chats.peek().map((each, index) => [each.id, index]));
  return [...found.values()]
    .sort((one, other) => (order.get(one.chatId) ?? 0) - (order.get(other.chatId) ?? 0))
    .slice(0, MOST);
}

function collect(found: Map<string, Match>, message: Message, needle: string): void {
  const chat = chatOf(message.chatId);
  if (!chat || chat.deletedAt !== undefined || found.get(message.chatId)?.messageId) return;
  const match = matchIn(message.content, needle);
  if (match) found.set(message.chatId, { ...match, chatId: message.chatId, messageId: message.id });
}

export function matchIn(text: string, needle: string): Pick<Match, "before" | "match" | "after"> | null {
  const at = text.toLocaleLowerCase().indexOf(needle);
  if (at < 0) return null;
  const end = at + needle.length;
  const before = text.slice(Math.max(0, at - AROUND), at).replace(/\s+/g, " ");
  const after = text.slice(end, end + AROUND * 2).replace(/\s+/g, " ");
  return { before: at > AROUND ? `…${before}` : before, match: text.slice(at, end), after };
}
