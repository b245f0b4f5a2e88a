import { isRecord } from "../api/errors";
import { newId } from "../ids";
import { base64 } from "./request";
import { Tree } from "./tree";
import type { Attachment, AttachmentKind, Chat, ChatSettings, KeptCall, Message } from "./types";

/** What an exported file holds. Files are base64. */
export interface Exported {
  format: "corral-chats";
  version: 1;
  chats: { chat: Chat; messages: Message[]; files: { id: string; type: string; data: string }[] }[];
}

export interface Imported {
  chat: Chat;
  messages: Message[];
  files: { id: string; blob: Blob }[];
}

export class UnreadableFileError extends Error {}

/** A branch as Markdown, to read or to print. */
export function toMarkdown(chat: Chat, path: readonly Message[]): string {
  const parts = [`# ${chat.title}`];
  if (chat.settings.system) parts.push(`> ${chat.settings.system.replaceAll("\n", "\n> ")}`);
  for (const each of path) {
    parts.push(each.role === "user" ? "## User" : `## ${each.model || "Assistant"}`);
    for (const file of each.attachments) parts.push(`*${file.name}*`);
    if (each.thinking) parts.push(`<details><summary>Thinking</summary>\n\n${each.thinking.trim()}\n\n</details>`);
    if (each.content) parts.push(each.content.trim());
    for (const call of each.calls) {
      const args = JSON.stringify(call.arguments, null, 2);
      parts.push(`**${call.name}**\n\n\`\`\`json\n${args}\n\`\`\``, `\`\`\`\n${call.result}\n\`\`\``);
    }
  }
  return `${parts.join("\n\n")}\n`;
}

export async function toExport(
  chats: readonly Chat[],
  messagesOf: (id: string) => Promise<Message[]>,
  fileOf: (id: string) => Promise<Blob | null>,
): Promise<Exported> {
  const found: Exported = { format: "corral-chats", version: 1, chats: [] };
  for (const chat of chats) {
    const messages = await messagesOf(chat.id);
    const files: Exported["chats"][number]["files"] = [];
    for (const { id, type } of messages.flatMap((each) => each.attachments)) {
      const blob = files.some((each) => each.id === id) ? null : await fileOf(id);
      if (blob) files.push({ id, type, data: await base64(blob) });
    }
    found.chats.push({ chat, messages, files });
  }
  return found;
}

/**
 * The chats of an exported file. They get new ids, so that nothing that exists is replaced. What is not as it has to be
 * is left out: the file may come from anywhere.
 *
 * @throws UnreadableFileError: it is not such a file.
 */
export function fromExport(text: string): Imported[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new UnreadableFileError("this is not JSON");
  }
  if (!isRecord(value) || value["format"] !== "corral-chats" || !Array.isArray(value["chats"])) {
    throw new UnreadableFileError("this file does not hold chats of Corral");
  }
  if (value["version"] !== 1) throw new UnreadableFileError("this file is from a newer version of Corral");
  return value["chats"].filter(isRecord).map(readChat);
}

function readChat(entry: Record<string, unknown>): Imported {
  const given = isRecord(entry["chat"]) ? entry["chat"] : {};
  const chatId = newId();
  const ids = new Map<string, string>();
  const renamed = (old: unknown): string => {
    const key = textOf(old);
    const known = ids.get(key) ?? newId();
    ids.set(key, known);
    return known;
  };
  const messages = list(entry["messages"]).map((each) => readMessage(each, chatId, renamed));
  const known = new Set(messages.map((each) => each.id));
  const kept = messages.map((each) => ({ ...each, parentId: each.parentId && known.has(each.parentId) ? each.parentId : null }));
  const leaf = given["leaf"] === null || given["leaf"] === undefined ? null : renamed(given["leaf"]);
  const chat: Chat = {
    id: chatId,
    title: textOf(given["title"]).slice(0, 200),
    createdAt: numberOf(given["createdAt"]) || Date.now(),
    updatedAt: numberOf(given["updatedAt"]) || Date.now(),
    folder: textOf(given["folder"]).slice(0, 100),
    isPinned: given["isPinned"] === true,
    leaf: leaf !== null && known.has(leaf) ? leaf : new Tree(kept).newestLeaf(null),
    settings: readSettings(given["settings"]),
  };
  const files = list(entry["files"]).flatMap((each) => {
    const blob = readFile(each);
    return blob ? [{ id: renamed(each["id"]), blob }] : [];
  });
  return { chat, messages: kept, files };
}

function readSettings(value: unknown): ChatSettings {
  const given = isRecord(value) ? value : {};
  return {
    model: textOf(given["model"]),
    system: textOf(given["system"]),
    think: textOf(given["think"]),
    format: textOf(given["format"]),
    options: isRecord(given["options"]) ? given["options"] : {},
    tools: [], // ids of another browser
  };
}

function readMessage(given: Record<string, unknown>, chatId: string, renamed: (old: unknown) => string): Message {
  const state = textOf(given["state"]);
  const parent = given["parentId"];
  return {
    id: renamed(given["id"]),
    chatId,
    parentId: parent === null || parent === undefined ? null : renamed(parent),
    role: given["role"] === "user" ? "user" : "assistant",
    createdAt: numberOf(given["createdAt"]),
    content: textOf(given["content"]),
    thinking: textOf(given["thinking"]),
    attachments: list(given["attachments"]).map((each) => readAttachment(each, renamed)),
    calls: list(given["calls"]).map(readCall),
    model: textOf(given["model"]),
    state: state === "stopped" || state === "failed" ? state : state === "streaming" ? "stopped" : "done",
    error: textOf(given["error"]),
    hint: textOf(given["hint"]),
    isEdited: given["isEdited"] === true,
    savedAt: numberOf(given["savedAt"]),
    stats: readStats(given["stats"]),
  };
}

function readStats(value: unknown): Message["stats"] {
  if (!isRecord(value)) return {};
  const known = Object.entries(value).filter(
    ([name, each]) => (typeof each === "number" && Number.isFinite(each)) || (name === "reason" && typeof each === "string"),
  );
  return Object.fromEntries(known) as Message["stats"];
}

function readAttachment(given: Record<string, unknown>, renamed: (old: unknown) => string): Attachment {
  const kinds: AttachmentKind[] = ["image", "audio", "text"];
  return {
    id: renamed(given["id"]),
    kind: kinds.find((each) => each === given["kind"]) ?? "text",
    name: textOf(given["name"]).slice(0, 200),
    type: textOf(given["type"]).slice(0, 100),
    size: numberOf(given["size"]),
  };
}

function readCall(given: Record<string, unknown>): KeptCall {
  const states: KeptCall["state"][] = ["waiting", "done", "failed"];
  return {
    id: textOf(given["id"]),
    name: textOf(given["name"]),
    arguments: isRecord(given["arguments"]) ? given["arguments"] : {},
    state: states.find((each) => each === given["state"]) ?? "waiting",
    result: textOf(given["result"]),
  };
}

function readFile(given: Record<string, unknown>): Blob | null {
  try {
    const bytes = Uint8Array.from(atob(textOf(given["data"])), (each) => each.charCodeAt(0));
    return new Blob([bytes], { type: textOf(given["type"]) });
  } catch {
    return null;
  }
}

function list(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function numberOf(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}
