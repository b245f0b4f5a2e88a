import { callJson } from "./client";

/** An API key without its text (docs/security.md). Limits that are not there do not hold. */
export interface ApiKey {
  id: string;
  name: string;
  status: "active" | "expired" | "revoked";
  scopes: string[];
  models: string[] | null;
  created_at: string;
  expires_at?: string;
  revoked_at?: string;
  previous_valid_until?: string;
  note?: string;
  /** How its requests are served among those that wait; servers before that have none. */
  priority?: Priority;
  rpm?: number;
  tpm?: number;
  tokens_per_day?: number;
  max_parallel?: number;
  max_predict?: number;
}

/** The only answers that have the text of the key. */
export type NewKey = ApiKey & { key: string };

export const SCOPES = ["infer", "read", "manage", "registry:pull", "registry:push", "cluster", "admin"] as const;
export const PRIORITIES = ["interactive", "normal", "batch"] as const;
export type Priority = (typeof PRIORITIES)[number];
export const LIMITS = ["rpm", "tpm", "tokens_per_day", "max_parallel", "max_predict"] as const;

export interface KeyOrder extends Partial<Record<(typeof LIMITS)[number], number>> {
  name: string;
  scopes: string[];
  models: string[];
  expires?: string;
  note?: string;
  priority?: Priority;
}

export async function listKeys(signal: AbortSignal): Promise<ApiKey[]> {
  return (await callJson<{ keys: ApiKey[] | null }>("/api/keys", { signal })).keys ?? [];
}

/** The key that is sent; an error where none is, or where nobody is asked for one. */
export const ownKey = (): Promise<ApiKey> => callJson("/api/keys/me", { isQuiet: true });

export const createKey = (order: KeyOrder): Promise<NewKey> => callJson("/api/keys", { body: order });

export function rotateKey(id: string, grace: string): Promise<NewKey> {
  return callJson(`/api/keys/${encodeURIComponent(id)}/rotate`, { body: { grace } });
}

export function revokeKey(id: string): Promise<ApiKey> {
  return callJson(`/api/keys/${encodeURIComponent(id)}`, { method: "DELETE" });
}
