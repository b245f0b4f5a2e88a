import { signal } from "@preact/signals";

import { useKeys } from "../services/api/client";
import { readSession, writeSession } from "../services/storage/small";

/** The API key of this tab; empty: none. It is never in a URL, a cookie or the local storage. */
export const apiKey = signal(readSession("key") ?? "");

/** What the key dialog is open for: the server asked, or refused a key, or the reader wants to enter one. */
export type KeyQuestion = "needed" | "refused" | "wanted";
export const keyQuestion = signal<KeyQuestion | null>(null);

let waiting: ((key: string | null) => void)[] = [];

useKeys({ current: () => apiKey.peek(), ask });

/** All calls that are refused at a time wait for one answer of the reader. */
function ask(refused: boolean): Promise<string | null> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    keyQuestion.value = refused ? "refused" : "needed";
  });
}

export function enterKey(text: string): void {
  apiKey.value = text.trim();
  writeSession("key", apiKey.value || null);
  answer(apiKey.value);
}

export function forgetKey(): void {
  apiKey.value = "";
  writeSession("key", null);
}

/** Close the dialog without a key: what waits for one fails with the server's refusal. */
export function declineKey(): void {
  answer(null);
}

function answer(key: string | null): void {
  keyQuestion.value = null;
  const resolvers = waiting;
  waiting = [];
  for (const resolve of resolvers) resolve(key);
}
