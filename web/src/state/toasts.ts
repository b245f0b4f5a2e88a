import { signal } from "@preact/signals";

import { hintOf, isAbort, messageOf } from "../services/api/errors";

export interface Toast {
  id: number;
  tone: "good" | "bad" | "info";
  text: string;
  hint: string;
  action?: { label: string; run: () => void } | undefined;
}

const SHOWN_MS = { good: 4000, info: 6000, bad: 12_000 };
const MOST = 4;

export const toasts = signal<readonly Toast[]>([]);
let serial = 0;

export function toast(text: string, options: Partial<Omit<Toast, "id" | "text">> = {}): void {
  const { tone = "info", hint = "", action } = options;
  const id = ++serial;
  const others = toasts.value.filter((each) => each.text !== text || each.tone !== tone);
  toasts.value = [...others, { id, tone, text, hint, action }].slice(-MOST);
  setTimeout(() => dismiss(id), SHOWN_MS[tone]);
}

/** Says what went wrong, unless the reader stopped it himself. */
export function toastError(error: unknown): void {
  if (!isAbort(error)) toast(messageOf(error), { tone: "bad", hint: hintOf(error) });
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((each) => each.id !== id);
}
