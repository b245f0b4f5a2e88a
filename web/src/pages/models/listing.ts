import type { ModelEntry } from "../../services/api/types";

export type SortBy = "name" | "size" | "modified" | "parameters" | "context";

export interface Listing {
  text: string;
  /** A capability, or empty: any. */
  capability: string;
  by: SortBy;
  isDescending: boolean;
}

/** The models that a listing shows, in its order; equal ones by name. */
export function listed(all: readonly ModelEntry[], { text, capability, by, isDescending }: Listing): ModelEntry[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = all.filter(
    (each) =>
      (!capability || each.capabilities?.includes(capability)) &&
      words.every((word) => searched(each).includes(word)),
  );
  const sign = isDescending ? -1 : 1;
  return found.sort((one, other) => sign * compare(one, other, by) || one.name.localeCompare(other.name));
}

export function capabilitiesOf(all: readonly ModelEntry[]): string[] {
  return [...new Set(all.flatMap((each) => each.capabilities ?? []))].sort();
}

function searched({ name, details }: ModelEntry): string {
  return `${name} ${details.family} ${details.parameter_size} ${details.quantization_level}`.toLowerCase();
}

function compare(one: ModelEntry, other: ModelEntry, by: SortBy): number {
  switch (by) {
    case "name":
      return one.name.localeCompare(other.name, undefined, { numeric: true });
    case "size":
      return one.size - other.size;
    case "modified":
      return Date.parse(one.modified_at) - Date.parse(other.modified_at) || 0;
    case "parameters":
      return parameterCount(one.details.parameter_size) - parameterCount(other.details.parameter_size);
    case "context":
      return (one.details.context_length ?? 0) - (other.details.context_length ?? 0);
  }
}

/** `8.0B` and the like as a number; 0 if it is not one. */
export function parameterCount(text: string): number {
  const match = /^([\d.]+)\s*([KMBT]?)/i.exec(text);
  if (!match) return 0;
  const units: Record<string, number> = { "": 1, K: 1e3, M: 1e6, B: 1e9, T: 1e12 };
  return Number.parseFloat(match[1] ?? "") * (units[(match[2] ?? "").toUpperCase()] ?? 1) || 0;
}
