import { computed, signal } from "@preact/signals";

import { isAbort } from "../../services/api/errors";
import { chat } from "../../services/api/native";
import type { ChatChunk, ChatRequest } from "../../services/api/types";
import { readLocal, writeLocal } from "../../services/storage/small";

/** What one model says to the prompt. Times are milliseconds, seen from this page; tokens a second from the server. */
export interface Lane {
  id: number;
  model: string;
  state: "idle" | "waiting" | "running" | "done" | "stopped" | "failed";
  text: string;
  thinking: string;
  error: unknown;
  firstMs: number | null;
  totalMs: number | null;
  loadMs: number | null;
  tokens: number | null;
  perS: number | null;
}

export interface Question {
  prompt: string;
  system: string;
  options: Record<string, number>;
  isInTurn: boolean;
}

/** Six connections to a server are all that a browser opens. */
export const MOST = 4;
const DRAWN_EVERY_MS = 60;
const NAME = "compare";

let serial = 0;
export const lanes = signal<readonly Lane[]>(stored().map(blank));
export const isBusy = computed(() => lanes.value.some((each) => each.state === "running" || each.state === "waiting"));

const controllers = new Map<number, AbortController>();

export function setModels(models: readonly string[]): void {
  const known = lanes.peek();
  lanes.value = models.slice(0, MOST).map((model, index) => {
    const before = known[index];
    return before?.model === model ? before : blank(model);
  });
  writeLocal(NAME, JSON.stringify(lanes.value.map((each) => each.model)));
}

export function removeLane(id: number): void {
  stop(id);
  lanes.value = lanes.peek().filter((each) => each.id !== id);
  writeLocal(NAME, JSON.stringify(lanes.value.map((each) => each.model)));
}

export function stop(id: number): void {
  controllers.get(id)?.abort();
}

export function stopAll(): void {
  for (const controller of controllers.values()) controller.abort();
}

/** Ask all models. At the same time they share the machine, which slows each of them down. */
export async function ask(question: Question): Promise<void> {
  stopAll();
  lanes.value = lanes.peek().map((each) => ({ ...blank(each.model), state: each.model ? "waiting" : "idle" }));
  const started = lanes.peek().filter((each) => each.model);
  for (const each of started) controllers.set(each.id, new AbortController());
  if (!question.isInTurn) {
    await Promise.all(started.map((each) => run(each, question)));
    return;
  }
  for (const each of started) await run(each, question);
}

async function run(lane: Lane, question: Question): Promise<void> {
  const controller = controllers.get(lane.id);
  if (!controller) return;
  const beganMs = performance.now();
  try {
    if (controller.signal.aborted) throw new DOMException("stopped", "AbortError");
    await receive(lane.id, requestOf(lane.model, question), controller.signal, beganMs);
  } catch (error) {
    const state = isAbort(error) ? "stopped" : "failed";
    note(lane.id, { state, error: isAbort(error) ? null : error, totalMs: performance.now() - beganMs });
  } finally {
    controllers.delete(lane.id);
  }
}

async function receive(id: number, request: ChatRequest, ended: AbortSignal, beganMs: number): Promise<void> {
  let text = "";
  let thinking = "";
  let drawnMs = 0;
  try {
    for await (const chunk of chat(request, ended)) {
      const nowMs = performance.now();
      if (!text && !thinking && (chunk.message.content || chunk.message.thinking)) {
        note(id, { state: "running", firstMs: nowMs - beganMs });
      }
      text += chunk.message.content;
      thinking += chunk.message.thinking ?? "";
      if (chunk.done) note(id, { ...figuresOf(chunk), state: "done", text, thinking, totalMs: nowMs - beganMs });
      else if (nowMs - drawnMs > DRAWN_EVERY_MS) {
        drawnMs = nowMs;
        note(id, { text, thinking });
      }
    }
  } finally {
    note(id, { text, thinking });
  }
}

export function requestOf(model: string, { prompt, system, options }: Question): ChatRequest {
  const messages: ChatRequest["messages"] = [{ role: "user", content: prompt }];
  if (system.trim()) messages.unshift({ role: "system", content: system });
  return { model, messages, stream: true, options };
}

export function figuresOf(chunk: ChatChunk): Pick<Lane, "tokens" | "perS" | "loadMs"> {
  const { eval_count: count, eval_duration: ns, load_duration: loadNs } = chunk;
  return {
    tokens: count ?? null,
    perS: count && ns ? count / (ns / 1e9) : null,
    loadMs: loadNs === undefined ? null : loadNs / 1e6,
  };
}

/** The lanes with the best value: those that ended, if there are two or more. */
export function best(all: readonly Lane[], of: (lane: Lane) => number | null, isMost: boolean): Set<number> {
  const values = all.flatMap((lane) => {
    const value = lane.state === "done" ? of(lane) : null;
    return value === null ? [] : [{ id: lane.id, value }];
  });
  if (values.length < 2) return new Set();
  const top = (isMost ? Math.max : Math.min)(...values.map((each) => each.value));
  return new Set(values.filter((each) => each.value === top).map((each) => each.id));
}

function blank(model: string): Lane {
  const none = { error: null, firstMs: null, totalMs: null, loadMs: null, tokens: null, perS: null };
  return { id: ++serial, model, state: "idle", text: "", thinking: "", ...none };
}

function note(id: number, change: Partial<Lane>): void {
  lanes.value = lanes.peek().map((each) => (each.id === id ? { ...each, ...change } : each));
}

function stored(): string[] {
  try {
    const value: unknown = JSON.parse(readLocal(NAME) ?? "[]");
    if (Array.isArray(value)) return value.filter((each): each is string => typeof each === "string").slice(0, MOST);
  } catch {
    // Something else wrote it: as if nothing were stored.
  }
  return [];
}
