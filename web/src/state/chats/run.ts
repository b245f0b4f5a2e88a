import { signal, type Signal } from "@preact/signals";

import { hintOf, isAbort, messageOf } from "../../services/api/errors";
import { chat } from "../../services/api/native";
import type { ChatChunk } from "../../services/api/types";
import { chatRequest } from "../../services/chats/request";
import type { KeptCall, Message, Stats } from "../../services/chats/types";
import { conversationOf, live, newMessage, type Conversation } from "./conversation";
import { changeChat, chatOf } from "./library";
import { contextOf } from "./context";
import { fileOf } from "./storage";
import { answerCalls, toolList } from "./tools";

const DRAW_EVERY_MS = 120;
const KEEP_EVERY_MS = 1500;
const NS_PER_MS = 1_000_000;
/** How many answers in a row may call tools before the reader has to go on by hand. */
const MOST_ROUNDS = 12;

/** An answer that is being written in this tab. `seen` is drawn at most 8 times a second, whatever the model's speed. */
export interface Run {
  messageId: string;
  chatId: string;
  seen: Signal<Seen>;
  stop: () => void;
}

export interface Seen {
  content: string;
  thinking: string;
  /** Pieces so far: about the number of tokens. */
  pieces: number;
  /** When the first piece came, and when the thinking ended; 0 before that. */
  firstAt: number;
  thoughtAt: number;
}

/** All answers that are being written, by the id of the message. */
export const runs = signal<ReadonlyMap<string, Run>>(new Map());

export function runsOf(chatId: string): Run[] {
  return [...runs.value.values()].filter((each) => each.chatId === chatId);
}

/** Write an answer after a message. Resolves when it has ended, however it did. */
export async function answer(chatId: string, parentId: string | null, model?: string, round = 1): Promise<void> {
  const conversation = conversationOf(chatId);
  const settings = chatOf(chatId)?.settings;
  if (!settings) return;
  const message: Message = {
    ...newMessage(chatId, parentId, "assistant"),
    model: model ?? settings.model,
    state: "streaming",
  };
  const ended = await new Writing(conversation, message).run({ ...settings, model: message.model });
  if (ended.state !== "done" || ended.calls.length === 0) return;
  await goOn(conversation, ended, round);
}

/** After an answer with calls: get their results, and let the model go on once it has all of them. */
async function goOn(conversation: Conversation, message: Message, round: number): Promise<void> {
  const settled = await answerCalls(conversation, message);
  if (settled && round < MOST_ROUNDS) await answer(conversation.chatId, message.id, message.model, round + 1);
}

/** The reader's own result of a call; the model goes on when there are no more to answer. */
export async function giveResult(message: Message, index: number, result: string): Promise<void> {
  const conversation = conversationOf(message.chatId);
  const calls = message.calls.map((each, at): KeptCall => (at === index ? { ...each, state: "done", result } : each));
  const changed = { ...message, calls };
  await conversation.put(changed);
  if (calls.every((each) => each.state === "done" || each.state === "failed")) {
    await answer(message.chatId, message.id, message.model);
  }
}

/** One answer from its request to its end. */
class Writing {
  private readonly stopper = new AbortController();
  private readonly seen = signal<Seen>({ content: "", thinking: "", pieces: 0, firstAt: 0, thoughtAt: 0 });
  private readonly startedAt = Date.now();
  private content: string[] = [];
  private thinking: string[] = [];
  private calls: KeptCall[] = [];
  private pieces = 0;
  private firstAt = 0;
  private thoughtAt = 0;
  private drawTimer = 0;
  private drawnAt = 0;
  private keptAt = Date.now();

  constructor(
    private readonly conversation: Conversation,
    private message: Message,
  ) {}

  /** The message as it ended. */
  async run(settings: Parameters<typeof chatRequest>[0]): Promise<Message> {
    const { id, chatId, parentId } = this.message;
    live.add(id);
    const entry: Run = { messageId: id, chatId, seen: this.seen, stop: () => this.stopper.abort() };
    runs.value = new Map(runs.peek()).set(id, entry);
    await this.conversation.put(this.message);
    await this.conversation.select(id);
    let end: Partial<Message>;
    try {
      const path = this.conversation.tree.peek()?.path(parentId) ?? [];
      const request = await chatRequest(settings, path, await toolList(), fileOf);
      for await (const chunk of chat(request, this.stopper.signal)) this.take(chunk);
      end = { state: "done" };
    } catch (error) {
      end = isAbort(error)
        ? { state: "stopped" }
        : { state: "failed", error: messageOf(error), hint: hintOf(error) };
    }
    return this.finish(end);
  }

  private take(chunk: ChatChunk): void {
    const { content, thinking, tool_calls: calls } = chunk.message;
    if (content || thinking || calls) {
      this.pieces += 1;
      this.firstAt ||= Date.now();
    }
    if (thinking) this.thinking.push(thinking);
    if (content) {
      if (this.thinking.length > 0) this.thoughtAt ||= Date.now();
      this.content.push(content);
    }
    for (const each of calls ?? []) {
      const { name, arguments: given } = each.function;
      this.calls.push({ id: each.id ?? "", name, arguments: given, state: "waiting", result: "" });
    }
    if (chunk.done) this.message = { ...this.message, stats: statsOf(chunk) };
    const wait = Math.max(0, this.drawnAt + DRAW_EVERY_MS - Date.now());
    if (!this.drawTimer) this.drawTimer = window.setTimeout(() => this.draw(), wait);
  }

  private draw(): void {
    this.drawTimer = 0;
    this.drawnAt = Date.now();
    const seen = this.gathered();
    this.seen.value = { ...seen, pieces: this.pieces, firstAt: this.firstAt, thoughtAt: this.thoughtAt };
    if (Date.now() - this.keptAt > KEEP_EVERY_MS) {
      this.keptAt = Date.now();
      void this.conversation.keep({ ...this.message, ...seen, savedAt: this.keptAt });
    }
  }

  /** What came so far; pieces that were joined once are not joined again. */
  private gathered(): { content: string; thinking: string } {
    this.content = [this.content.join("")];
    this.thinking = [this.thinking.join("")];
    return { content: this.content[0] ?? "", thinking: this.thinking[0] ?? "" };
  }

  private async finish(end: Partial<Message>): Promise<Message> {
    clearTimeout(this.drawTimer);
    const now = Date.now();
    const stats: Stats = { ...this.message.stats, totalMs: this.message.stats.totalMs ?? now - this.startedAt };
    if (this.firstAt) stats.firstTokenMs = this.firstAt - this.startedAt;
    if (this.thinking.join("")) stats.thinkMs = (this.thoughtAt || now) - this.firstAt;
    const context = await contextOf(this.message.model);
    if (context) stats.context = context;
    this.message = { ...this.message, ...this.gathered(), calls: this.calls, ...end, savedAt: now, stats };
    const { id, chatId } = this.message;
    await this.conversation.put(this.message);
    live.delete(id);
    const rest = new Map(runs.peek());
    rest.delete(id);
    runs.value = rest;
    await changeChat(chatId, { updatedAt: now });
    return this.message;
  }
}

/** The figures of the last piece of an answer. */
export function statsOf(chunk: ChatChunk): Stats {
  const stats: Stats = { totalMs: (chunk.total_duration ?? 0) / NS_PER_MS, loadMs: (chunk.load_duration ?? 0) / NS_PER_MS };
  if (chunk.prompt_eval_count !== undefined) stats.promptTokens = chunk.prompt_eval_count;
  if (chunk.prompt_eval_cached_count !== undefined) stats.cachedTokens = chunk.prompt_eval_cached_count;
  if (chunk.prompt_eval_count && chunk.prompt_eval_duration) {
    const computed = chunk.prompt_eval_count - (chunk.prompt_eval_cached_count ?? 0);
    stats.promptPerS = (computed * 1000 * NS_PER_MS) / chunk.prompt_eval_duration;
  }
  if (chunk.eval_count !== undefined) stats.tokens = chunk.eval_count;
  if (chunk.eval_count && chunk.eval_duration) {
    stats.perS = (chunk.eval_count * 1000 * NS_PER_MS) / chunk.eval_duration;
  }
  if (chunk.truncated_count) stats.cut = chunk.truncated_count;
  if (chunk.done_reason) stats.reason = chunk.done_reason;
  return stats;
}
