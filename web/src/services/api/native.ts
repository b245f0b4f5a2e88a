import { callJson } from "./client";
import { streamObjects } from "./stream";
import type { ChatChunk, ChatRequest, LoadedModel, ModelEntry, ShownModel, Version } from "./types";

export const version = (): Promise<Version> => callJson("/api/version");

export async function listModels(): Promise<ModelEntry[]> {
  return (await callJson<{ models: ModelEntry[] | null }>("/api/tags")).models ?? [];
}

export async function loadedModels(): Promise<LoadedModel[]> {
  return (await callJson<{ models: LoadedModel[] | null }>("/api/ps")).models ?? [];
}

export const showModel = (model: string): Promise<ShownModel> => callJson("/api/show", { body: { model } });

export function chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatChunk> {
  return streamObjects<ChatChunk>("/api/chat", { body: request, signal });
}
