import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import type { Texts } from "../texts";

/**
 * A key or a combination: `mod` is Ctrl, on Apple's keyboards Cmd. Letters are compared with what the key writes, so
 * they hold on every layout. Two keys one after the other are written `g c`.
 */
export interface Shortcut {
  keys: string;
  group: "general" | "chat";
  label: (texts: Texts) => string;
  run: () => void;
  /** Also while the reader writes in a field. Combinations with `mod` always do. */
  inFields?: boolean;
}

const SEQUENCE_MS = 1200;
export const isApple = /Mac|iPhone|iPad/.test(navigator.platform);
export const shortcuts = signal<readonly Shortcut[]>([]);
let before: { key: string; atMs: number } | null = null;

/** The shortcuts hold while the component that calls this is shown. */
export function useShortcuts(list: readonly Shortcut[]): void {
  const latest = useRef(list);
  latest.current = list;
  const names = list.map((each) => each.keys).join(",");
  useEffect(() => {
    const mine = latest.current.map((each, index) => ({
      ...each,
      run: () => latest.current[index]?.run(),
    }));
    shortcuts.value = [...shortcuts.peek(), ...mine];
    return () => {
      shortcuts.value = shortcuts.peek().filter((each) => !mine.includes(each as (typeof mine)[number]));
    };
  }, [names]);
}

export function startShortcuts(): void {
  addEventListener("keydown", (event) => {
    const found = find(event);
    if (!found) return;
    event.preventDefault();
    found.run();
  });
}

function find(event: KeyboardEvent): Shortcut | null {
  if (event.defaultPrevented || event.isComposing) return null;
  const name = nameOf(event);
  const sequence = before && event.timeStamp - before.atMs < SEQUENCE_MS ? `${before.key} ${name}` : "";
  before = /^[a-z]$/.test(name) ? { key: name, atMs: event.timeStamp } : null;
  const isWriting = isField(event.target);
  // What is opened last counts first.
  const usable = shortcuts
    .peek()
    .filter((each) => !isWriting || each.inFields || each.keys.startsWith("mod+"))
    .toReversed();
  // A dialog in front takes all keys but its own.
  if (document.querySelector("dialog[open]")) return null;
  return usable.find((each) => sequence && each.keys === sequence) ?? usable.find((each) => each.keys === name) ?? null;
}

export function nameOf(event: KeyboardEvent): string {
  const parts: string[] = [];
  if (isApple ? event.metaKey : event.ctrlKey) parts.push("mod");
  if (event.altKey) parts.push("alt");
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // With a character like "?" Shift is part of what the key writes.
  if (event.shiftKey && (event.key.length > 1 || /[a-z]/.test(key))) parts.push("shift");
  parts.push(key);
  return parts.join("+");
}

function isField(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}
