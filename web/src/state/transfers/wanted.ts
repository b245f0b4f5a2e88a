import { isRecord } from "../../services/api/errors";
import { readLocal, writeLocal } from "../../services/storage/small";

/** A pull that the reader asked for and has not got yet. It outlives the page. */
export interface WantedPull {
  model: string;
  isInsecure: boolean;
  /** Why it ended; empty: it goes on. */
  error: string;
  hint: string;
}

const NAME = "pulls";
const MOST = 50;

export function hasWanted(): boolean {
  return readWanted(readLocal(NAME)).length > 0;
}

export function loadWanted(): WantedPull[] {
  return readWanted(readLocal(NAME));
}

export function saveWanted(list: readonly WantedPull[]): void {
  writeLocal(NAME, JSON.stringify(list));
}

/** What is stored may be from another version, or anything. */
export function readWanted(text: string | null): WantedPull[] {
  let value: unknown;
  try {
    value = JSON.parse(text ?? "[]");
  } catch {
    return [];
  }
  if (!Array.isArray(value)) return [];
  const found = value.filter(isRecord).flatMap((each): WantedPull[] => {
    const { model, isInsecure, error, hint } = each;
    if (typeof model !== "string" || model === "") return [];
    return [{ model, isInsecure: isInsecure === true, error: textOf(error), hint: textOf(hint) }];
  });
  return found.filter((each, index) => found.findIndex((other) => other.model === each.model) === index).slice(0, MOST);
}

/** Calls back when another tab has changed the list. */
export function watchWanted(onChange: (list: WantedPull[]) => void): void {
  addEventListener("storage", (event) => {
    if (event.key === `corral.${NAME}`) onChange(readWanted(event.newValue));
  });
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
