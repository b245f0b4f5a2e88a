import { call, callJson } from "./client";
import { isRecord } from "./errors";
import { streamEvents } from "./stream";
import type { Capability } from "./types";

/** What the server does right now (docs/operations.md). Sizes are bytes, times milliseconds. */
export interface Top {
  version: string;
  started_at: string;
  memory: { total: number; free: number; devices: Device[] };
  models: RunningModel[];
  requests: LiveRequest[];
  recent: EndedRequest[];
}

export interface Device {
  name: string;
  description: string;
  total: number;
  free: number;
}

export interface RunningModel {
  name: string;
  state: "loaded" | "loading" | "stopping";
  waiting: number;
  /** Counts up while the model is loaded. */
  generated_tokens: number;
  progress?: number;
  size?: number;
  size_vram?: number;
  context_length?: number;
  expires_at?: string;
  slots?: number;
  running?: number;
}

export interface LiveRequest {
  id: string;
  path: string;
  state: "queued" | "slot" | "running";
  priority?: "interactive" | "normal" | "batch";
  position: number;
  waited_ms: number;
  tokens: number;
  model?: string;
  key?: string;
  eta_ms?: number;
  tokens_per_s?: number;
}

export interface EndedRequest {
  id: string;
  path: string;
  status: number;
  ended_at: string;
  ms: number;
  prompt_tokens: number;
  tokens: number;
  model?: string;
  key?: string;
  tokens_per_s?: number;
  error?: string;
}

export interface Decision {
  id: number;
  at: string;
  event: string;
  model: string;
  cause?: string;
  reason?: string;
  for?: string;
  error?: string;
  request?: string;
  seconds?: number;
}

export const top = (signal: AbortSignal): Promise<Top> => callJson("/api/top", { signal });

/** A card that no engine of the server can use, in the server's words, and what to do; null without one. */
export interface GpuProblem {
  problem: string;
  advice: string;
}

export async function gpuProblem(signal: AbortSignal): Promise<GpuProblem | null> {
  return (await callJson<{ gpu?: GpuProblem }>("/api/status", { signal })).gpu ?? null;
}

export async function cancelRequest(id: string): Promise<void> {
  await call(`/api/requests/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/** The kept decisions of the scheduler, then new ones as they happen. It does not end by itself. */
export async function* decisions(signal: AbortSignal): AsyncGenerator<Decision> {
  for await (const { data } of streamEvents("/api/events", { signal })) {
    const found = readDecision(data);
    if (found) yield found;
  }
}

export function readDecision(text: string): Decision | null {
  try {
    const value: unknown = JSON.parse(text);
    if (!isRecord(value) || typeof value["id"] !== "number" || typeof value["event"] !== "string") return null;
    return { model: "", at: "", ...value } as Decision;
  } catch {
    return null;
  }
}

/** Load a model, or say how long it stays: seconds, `30m`, -1 forever, 0 unload. */
export async function keepModel(
  model: string,
  keepAlive: number | string,
  capabilities: readonly Capability[] | undefined,
): Promise<void> {
  const isGenerator = keepAlive === 0 || !capabilities?.length || capabilities.includes("completion");
  const body = { model, keep_alive: keepAlive, stream: false };
  if (isGenerator) await call("/api/generate", { body });
  else await call("/api/embed", { body: { model, keep_alive: keepAlive, input: [] } });
}
