import { callJson } from "./client";
import { streamObjects } from "./stream";

/** A token with its log probability. `bytes`: what it stands for, which may be a part of a character. */
export interface Rival {
  token: string;
  logprob: number;
  bytes?: number[];
}

export interface Logprob extends Rival {
  top_logprobs?: Rival[];
}

export interface GenerateRequest {
  model: string;
  prompt: string;
  system?: string;
  raw?: boolean;
  logprobs?: boolean;
  top_logprobs?: number;
  options?: Record<string, unknown>;
}

/** Durations are nanoseconds. */
export interface GenerateChunk {
  response: string;
  thinking?: string;
  done: boolean;
  done_reason?: string;
  logprobs?: Logprob[];
  total_duration?: number;
  load_duration?: number;
  prompt_eval_count?: number;
  eval_count?: number;
  eval_duration?: number;
}

export function generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateChunk> {
  return streamObjects<GenerateChunk>("/api/generate", { body: { ...request, stream: true }, signal });
}

export interface Embeddings {
  embeddings: number[][];
  total_duration?: number;
  prompt_eval_count?: number;
}

export function embed(model: string, input: readonly string[], signal: AbortSignal): Promise<Embeddings> {
  return callJson("/api/embed", { body: { model, input }, signal });
}

export interface Ranking {
  results: { index: number; relevance_score: number }[];
  total_duration?: number;
}

export function rerank(
  model: string,
  query: string,
  documents: readonly string[],
  signal: AbortSignal,
): Promise<Ranking> {
  return callJson("/api/rerank", { body: { model, query, documents }, signal });
}

/** A piece is the text of its token, or its bytes where they are not whole characters. */
export interface Tokens {
  tokens: number[];
  pieces?: (string | number[])[];
}

export function tokenize(model: string, content: string, addSpecial: boolean, signal: AbortSignal): Promise<Tokens> {
  const body = { model, content, add_special: addSpecial, with_pieces: true };
  return callJson("/api/tokenize", { body, signal });
}
