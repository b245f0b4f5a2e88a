import { call, callJson } from "./client";
import { ApiError } from "./errors";
import { streamObjects } from "./stream";
import type { ShownModel } from "./types";

/** What pull and create say while they work. Sizes are bytes. */
export interface Progress {
  status: string;
  digest?: string;
  total?: number;
  completed?: number;
}

export interface CreateOrder {
  model: string;
  modelfile?: string;
  files?: Record<string, string>;
  quantize?: string;
}

export interface Tensor {
  name: string;
  type: string;
  shape: number[];
}

/** Several pulls of a model are one download for the server; it ends when the last of them leaves. */
export function pull(model: string, isInsecure: boolean, signal: AbortSignal): AsyncGenerator<Progress> {
  return streamObjects<Progress>("/api/pull", { body: isInsecure ? { model, insecure: true } : { model }, signal });
}

export function create(order: CreateOrder, signal: AbortSignal): AsyncGenerator<Progress> {
  return streamObjects<Progress>("/api/create", { body: order, signal });
}

export async function deleteModel(model: string): Promise<void> {
  await call("/api/delete", { method: "DELETE", body: { model } });
}

export async function copyModel(source: string, destination: string): Promise<void> {
  await call("/api/copy", { body: { source, destination } });
}

/** Which models came from a registry, and which one: `local` for those that were made here. */
export async function origins(): Promise<Record<string, string>> {
  return (await callJson<{ origins: Record<string, string> | null }>("/api/origins")).origins ?? {};
}

/** Everything of a model, with its tensors; of a large vocabulary this is tens of megabytes. */
export function showWhole(model: string, signal?: AbortSignal): Promise<ShownModel & { tensors?: Tensor[] }> {
  return callJson("/api/show", { body: { model, verbose: true }, signal });
}

export async function hasBlob(digest: string, signal: AbortSignal): Promise<boolean> {
  try {
    await call(`/api/blobs/${digest}`, { method: "HEAD", signal });
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false;
    throw error;
  }
}
