import { effect, signal, type ReadonlySignal } from "@preact/signals";

import { isAbort, isRefusal } from "../services/api/errors";
import { apiKey } from "./session";

/**
 * Something of the server as the page knows it. `value` stays while it is asked for again, also when that fails: a
 * page then shows what it has, and that it is old.
 */
export interface Known<T> {
  value: T | null;
  error: unknown;
  isLoading: boolean;
}

export interface Resource<T> {
  known: ReadonlySignal<Known<T>>;
  /** Ask the server now; what is under way is dropped. Never rejects. */
  refresh(): Promise<void>;
  /**
   * Ask every so many milliseconds while the tab is visible, until the returned function is called. What the server
   * refuses for want of a key is not asked for again before there is another key, or `refresh` is called.
   */
  poll(everyMs: number): () => void;
}

/** Nothing is asked before `refresh` or `poll`. A new key asks again what was asked before. */
export function resource<T>(load: (signal: AbortSignal) => Promise<T>): Resource<T> {
  const known = signal<Known<T>>({ value: null, error: null, isLoading: false });
  let running: AbortController | null = null;
  let wasAsked = false;

  async function refresh(): Promise<void> {
    running?.abort();
    const mine = (running = new AbortController());
    wasAsked = true;
    known.value = { ...known.peek(), isLoading: true };
    try {
      const value = await load(mine.signal);
      if (running === mine) known.value = { value, error: null, isLoading: false };
    } catch (error) {
      if (running === mine && !isAbort(error)) {
        known.value = { value: known.peek().value, error, isLoading: false };
      }
    }
  }

  let key = apiKey.peek();
  effect(() => {
    if (apiKey.value !== key && wasAsked) void refresh();
    key = apiKey.value;
  });

  function poll(everyMs: number): () => void {
    let timer = 0;
    let isOver = false;
    const look = async (): Promise<void> => {
      clearTimeout(timer);
      if (!document.hidden && !isRefusal(known.peek().error)) await refresh();
      if (!isOver) timer = window.setTimeout(() => void look(), everyMs);
    };
    const onVisible = (): void => {
      if (!document.hidden) void look();
    };
    document.addEventListener("visibilitychange", onVisible);
    void look();
    return () => {
      isOver = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    };
  }

  return { known, refresh, poll };
}
