import { call, callJson } from "./client";

export const FIGURES = [
  "requests",
  "errors",
  "cancelled",
  "prompt_tokens",
  "cached_tokens",
  "generated_tokens",
  "ms",
] as const;
export type Figure = (typeof FIGURES)[number];
export type Figures = Record<Figure, number>;
export type Group = "key" | "model" | "surface";

export interface UsageRow extends Figures {
  day?: string;
  key?: string;
  key_name?: string;
  model?: string;
  surface?: string;
}

export interface Usage {
  since: string;
  until: string;
  usage: UsageRow[];
  total: Figures;
}

export function readUsage(since: string, group: Group, signal: AbortSignal): Promise<Usage> {
  return callJson(path(since, group), { signal });
}

export async function usageAsCsv(since: string, group: Group): Promise<Blob> {
  return (await call(`${path(since, group)}&format=csv`)).blob();
}

function path(since: string, group: Group): string {
  return `/api/usage?${new URLSearchParams({ by: `day,${group}`, since }).toString()}`;
}
