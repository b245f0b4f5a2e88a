import { signal } from "@preact/signals";

import type { Attachment, ChatSettings, Message } from "../../services/chats/types";
import { readLocal, writeLocal } from "../../services/storage/small";
import { beginConversation, conversationOf, newMessage } from "./conversation";
import { addChat, chatOf, defaultSettings, newChat } from "./library";
import { answer, runsOf } from "./run";

/** What the reader attached, before it is sent. */
export interface Pending {
  attachment: Attachment;
  blob: Blob;
}

/** Settings of the chat that is about to be begun: it does not exist before its first message. */
export const draftSettings = signal<ChatSettings>(defaultSettings());

export function resetDraft(): void {
  draftSettings.value = { ...defaultSettings(), model: lastModel() };
}

export function lastModel(): string {
  return readLocal("last-model") ?? "";
}

/** Send a message in a chat, or begin one with it; returns the chat's id at once. */
export function send(chatId: string | null, text: string, pending: readonly Pending[]): string {
  const id = chatId ?? begin(text || (pending[0]?.attachment.name ?? ""));
  void sendIn(id, text, pending);
  return id;
}

function begin(first: string): string {
  const chat = newChat(draftSettings.peek(), first);
  beginConversation(chat.id);
  void addChat(chat);
  return chat.id;
}

async function sendIn(chatId: string, text: string, pending: readonly Pending[]): Promise<void> {
  writeLocal("last-model", chatOf(chatId)?.settings.model ?? "");
  const parent = chatOf(chatId)?.leaf ?? null;
  await say(chatId, parent, text, pending.map((each) => each.attachment), pending);
}

async function say(
  chatId: string,
  parentId: string | null,
  text: string,
  attachments: Attachment[],
  pending: readonly Pending[] = [],
): Promise<void> {
  const conversation = conversationOf(chatId);
  const message = newMessage(chatId, parentId, "user", text, attachments);
  const files = pending.map((each) => ({ id: each.attachment.id, blob: each.blob }));
  await conversation.put(message, files);
  await conversation.select(message.id);
  await answer(chatId, message.id);
}

/** The same question in other words: a branch beside it, with an answer of its own. */
export async function resend(message: Message, text: string): Promise<void> {
  await say(message.chatId, message.parentId, text, message.attachments);
}

/** Another answer to the same question, perhaps by another model. */
export async function regenerate(message: Message, model?: string): Promise<void> {
  await answer(message.chatId, message.parentId, model);
}

/** An answer in the reader's own words: a branch beside it. */
export async function editAnswer(message: Message, text: string): Promise<void> {
  const conversation = conversationOf(message.chatId);
  const edited: Message = {
    ...newMessage(message.chatId, message.parentId, "assistant", text),
    model: message.model,
    isEdited: true,
  };
  await conversation.put(edited);
  await conversation.select(edited.id);
}

export function stopAll(chatId: string): void {
  for (const each of runsOf(chatId)) each.stop();
}
