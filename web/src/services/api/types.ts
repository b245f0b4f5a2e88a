/** What goes over the wire on the native API (docs/http.md). Only the members that the page uses. */

export interface Version {
  version: string;
  corral_version?: string;
}

export interface ModelDetails {
  format: string;
  family: string;
  families: string[] | null;
  parameter_size: string;
  quantization_level: string;
  context_length?: number;
  embedding_length?: number;
}

export interface ModelEntry {
  name: string;
  model: string;
  modified_at: string;
  size: number;
  digest: string;
  details: ModelDetails;
  capabilities?: Capability[];
}

export type Capability =
  | "completion"
  | "tools"
  | "insert"
  | "vision"
  | "embedding"
  | "thinking"
  | "audio"
  | "rerank"
  | (string & {});

export interface ShownModel {
  capabilities: Capability[];
  details: ModelDetails;
  model_info: Record<string, unknown>;
  license?: string;
  modelfile?: string;
  parameters?: string;
  template?: string;
  system?: string;
}

export interface ToolCall {
  id?: string;
  function: { name: string; arguments: Record<string, unknown> };
}

export interface WireMessage {
  role: "system" | "user" | "assistant" | "tool";
  content: string;
  thinking?: string;
  images?: string[];
  tool_calls?: ToolCall[];
  tool_name?: string;
  tool_call_id?: string;
}

export interface ChatRequest {
  model: string;
  messages: WireMessage[];
  stream: true;
  think?: boolean | string;
  format?: "json" | Record<string, unknown>;
  tools?: unknown[];
  options?: Record<string, unknown>;
  keep_alive?: string | number;
  truncate?: boolean;
}

/** Durations are nanoseconds. */
export interface ChatChunk {
  model: string;
  message: WireMessage;
  done: boolean;
  done_reason?: string;
  total_duration?: number;
  load_duration?: number;
  prompt_eval_count?: number;
  prompt_eval_cached_count?: number;
  prompt_eval_duration?: number;
  eval_count?: number;
  eval_duration?: number;
  /** How many of the oldest messages did not fit into the context. */
  truncated?: boolean;
  truncated_count?: number;
}

export interface LoadedModel {
  name: string;
  model: string;
  size: number;
  size_vram: number;
  digest: string;
  details: ModelDetails;
  expires_at: string;
  context_length: number;
}

export interface Loading {
  models: { model: string; progress: number }[];
}
