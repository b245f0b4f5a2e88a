import type { ChatRequest, WireMessage } from "../api/types";
import type { Attachment, ChatSettings, Message, Tool } from "./types";

/** Gives the file of an attachment; null if it is gone. */
export type ReadFile = (id: string) => Promise<Blob | null>;

/**
 * What to send for an answer after the last of these messages.
 *
 * @throws Error: the schema of the format is not JSON.
 */
export async function chatRequest(
  settings: ChatSettings,
  path: readonly Message[],
  tools: readonly Tool[],
  read: ReadFile,
): Promise<ChatRequest> {
  const messages: WireMessage[] = [];
  if (settings.system.trim()) messages.push({ role: "system", content: settings.system });
  for (const each of path) messages.push(...(each.role === "user" ? [await userMessage(each, read)] : answered(each)));
  const request: ChatRequest = { model: settings.model, messages, stream: true };
  const think = thinkValue(settings.think);
  if (think !== undefined) request.think = think;
  const format = formatValue(settings.format);
  if (format !== undefined) request.format = format;
  if (Object.keys(settings.options).length > 0) request.options = settings.options;
  const chosen = tools.filter((each) => settings.tools.includes(each.id));
  if (chosen.length > 0) request.tools = chosen.map(wireTool);
  return request;
}

export function thinkValue(text: string): boolean | string | undefined {
  if (text === "") return undefined;
  return text === "true" ? true : text === "false" ? false : text;
}

/** @throws Error: it is neither empty, nor `json`, nor a JSON object. */
export function formatValue(text: string): "json" | Record<string, unknown> | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  if (trimmed === "json") return "json";
  const value: unknown = JSON.parse(trimmed);
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("a schema is a JSON object");
  return value as Record<string, unknown>;
}

async function userMessage(message: Message, read: ReadFile): Promise<WireMessage> {
  const texts: string[] = [];
  const media: string[] = [];
  for (const each of message.attachments) {
    const blob = await read(each.id);
    if (!blob) continue;
    if (each.kind === "text") texts.push(quoted(each, await blob.text()));
    else media.push(await base64(blob));
  }
  const content = [...texts, message.content].filter(Boolean).join("\n\n");
  return { role: "user", content, ...(media.length > 0 ? { images: media } : {}) };
}

/** A text file between fences that are longer than any in it. */
export function quoted(file: Pick<Attachment, "name">, text: string): string {
  const longest = Math.max(2, ...Array.from(text.matchAll(/`+/g), (match) => match[0].length));
  const fence = "`".repeat(longest + 1);
  return `${file.name}:\n${fence}\n${text.replace(/\n$/, "")}\n${fence}`;
}

function answered(message: Message): WireMessage[] {
  const wire: WireMessage = { role: "assistant", content: message.content };
  if (message.thinking) wire.thinking = message.thinking;
  if (message.calls.length === 0) return [wire];
  wire.tool_calls = message.calls.map((each) => ({
    ...(each.id ? { id: each.id } : {}),
    function: { name: each.name, arguments: each.arguments },
  }));
  const results = message.calls.map(
    (each): WireMessage => ({
      role: "tool",
      content: each.result,
      tool_name: each.name,
      ...(each.id ? { tool_call_id: each.id } : {}),
    }),
  );
  return [wire, ...results];
}

function wireTool(tool: Tool): unknown {
  const { name, description, parameters } = tool;
  return { type: "function", function: { name, description, parameters } };
}

export async function base64(blob: Blob): Promise<string> {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const step = 0x8000;
  let text = "";
  for (let at = 0; at < bytes.length; at += step) text += String.fromCharCode(...bytes.subarray(at, at + step));
  return btoa(text);
}
