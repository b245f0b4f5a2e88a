import { fromExport, toExport, toMarkdown } from "../../services/chats/transfer";
import { Tree } from "../../services/chats/tree";
import type { Chat } from "../../services/chats/types";
import { saveFile } from "../../services/files";
import { messagesOf } from "./conversation";
import { addChat, chats } from "./library";
import { fileOf } from "./storage";

/** Save chats as a file that `importChats` reads. */
export async function exportJson(list: readonly Chat[] = chats.peek()): Promise<void> {
  const found = await toExport(list, messagesOf, fileOf);
  const name = list.length === 1 && list[0] ? fileName(list[0]) : `corral-chats-${new Date().toISOString().slice(0, 10)}`;
  saveFile(`${name}.json`, new Blob([JSON.stringify(found)], { type: "application/json" }));
}

/** Save the branch of a chat that is shown. */
export async function exportMarkdown(chat: Chat): Promise<void> {
  const messages = await messagesOf(chat.id);
  const text = toMarkdown(chat, new Tree(messages).path(chat.leaf));
  saveFile(`${fileName(chat)}.md`, new Blob([text], { type: "text/markdown" }));
}

/** Add the chats of a file; returns how many. @throws UnreadableFileError */
export async function importChats(file: Blob): Promise<number> {
  const found = fromExport(await file.text());
  for (const each of found) await addChat(each.chat, each.messages, each.files);
  return found.length;
}

function fileName(chat: Chat): string {
  const plain = chat.title.replace(/[^\p{L}\p{N} ._-]/gu, "").trim().replace(/\s+/g, "-").replace(/^\.+/, "");
  return plain.slice(0, 60) || "chat";
}
