import { signal } from "@preact/signals";

import { isAbort, isRefusal } from "../../services/api/errors";
import { decisions, gpuProblem, top, type Decision } from "../../services/api/operations";
import { resource } from "../../state/resource";
import { apiKey } from "../../state/session";
import { nextRates, type Rate } from "./rates";

export const now = resource(async (ended) => {
  const found = await top(ended);
  rates = nextRates(rates, found.models, performance.now());
  return { ...found, rates };
});
let rates = new Map<string, Rate>();

export const gpu = resource(gpuProblem);

export interface Events {
  list: readonly Decision[];
  error: unknown;
}

const KEPT = 200;
const DRAWN_EVERY_MS = 200;
const RETRY_MS = 3000;

/** Newest first. */
export const events = signal<Events>({ list: [], error: null });

/** Follows the decisions of the scheduler while the tab is visible, until the returned function is called. */
export function followEvents(): () => void {
  let controller: AbortController | null = null;
  const onVisible = (): void => {
    if (document.hidden) {
      controller?.abort();
      controller = null;
    } else if (!controller) {
      controller = new AbortController();
      void follow(controller.signal);
    }
  };
  document.addEventListener("visibilitychange", onVisible);
  onVisible();
  return () => {
    document.removeEventListener("visibilitychange", onVisible);
    controller?.abort();
  };
}

async function follow(ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    try {
      await receive(ended);
    } catch (error) {
      if (isAbort(error) || ended.aborted) return;
      events.value = { ...events.peek(), error };
      if (isRefusal(error)) await anotherKey(ended);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** Resolves when the reader has entered another key, or it is not needed any more. */
function anotherKey(ended: AbortSignal): Promise<void> {
  const refused = apiKey.peek();
  return new Promise((resolve) => {
    const end = apiKey.subscribe((key) => {
      if (key === refused) return;
      queueMicrotask(() => end());
      resolve();
    });
    ended.addEventListener("abort", () => (end(), resolve()));
  });
}

/** A connection begins with the kept decisions, so the list begins anew: after a restart their numbers do too. */
async function receive(ended: AbortSignal): Promise<void> {
  let list: Decision[] = [];
  let timer = 0;
  const draw = (): void => {
    timer = 0;
    events.value = { list: [...list], error: null };
  };
  try {
    for await (const decision of decisions(ended)) {
      list = [decision, ...list].slice(0, KEPT);
      timer ||= window.setTimeout(draw, DRAWN_EVERY_MS);
    }
  } finally {
    clearTimeout(timer);
  }
}
