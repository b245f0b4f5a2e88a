import { signal } from "@preact/signals";

import { messageOf } from "../../services/api/errors";
import { askTool } from "../../services/chats/toolcall";
import type { KeptCall, Message, Tool } from "../../services/chats/types";
import type { Conversation } from "./conversation";
import { onChange, store, write } from "./storage";

/** The reader's tools; null before they were read. */
export const tools = signal<readonly Tool[] | null>(null);

export async function toolList(): Promise<readonly Tool[]> {
  if (tools.peek() === null) await readTools();
  return tools.peek() ?? [];
}

export async function readTools(): Promise<void> {
  const found = await (await store()).tools();
  tools.value = found.sort((one, other) => one.name.localeCompare(other.name));
}

onChange((change) => {
  if (change.kind === "tools") void readTools();
});

export async function saveTool(tool: Tool): Promise<void> {
  await write({ kind: "tools" }, (kept) => kept.putTool(tool));
  await readTools();
}

export async function removeTool(id: string): Promise<void> {
  await write({ kind: "tools" }, (kept) => kept.deleteTool(id));
  await readTools();
}

/** Ask the tools that may be asked without the reader. Whether every call has its result then. */
export async function answerCalls(conversation: Conversation, message: Message): Promise<boolean> {
  const known = await toolList();
  const calls = await Promise.all(
    message.calls.map((call) => {
      const tool = known.find((each) => each.name === call.name);
      return tool?.url && !tool.asks ? ask(tool, call) : call;
    }),
  );
  await conversation.put({ ...message, calls });
  return calls.every(isSettled);
}

/** Send one call to the address of its tool, as the reader has just agreed to. */
export async function sendCall(message: Message, index: number): Promise<string> {
  const call = message.calls[index];
  const tool = (await toolList()).find((each) => each.name === call?.name);
  if (!call || !tool) throw new Error("there is no such tool any more");
  return askTool(tool.url, call.name, call.arguments);
}

function isSettled(call: KeptCall): boolean {
  return call.state === "done" || call.state === "failed";
}

/** An error is a result, too: the model is told, and can try something else. */
async function ask(tool: Tool, call: KeptCall): Promise<KeptCall> {
  try {
    return { ...call, state: "done", result: await askTool(tool.url, call.name, call.arguments) };
  } catch (error) {
    return { ...call, state: "failed", result: `Error: ${messageOf(error)}` };
  }
}
