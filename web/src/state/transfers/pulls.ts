import { signal } from "@preact/signals";

import { ApiError, hintOf, isAbort, messageOf } from "../../services/api/errors";
import { pull } from "../../services/api/library";
import { t } from "../../texts";
import { models } from "../server";
import { toast } from "../toasts";
import { TransferMeter } from "./meter";
import { loadWanted, saveWanted, watchWanted, type WantedPull } from "./wanted";

/**
 * Pulls, as every tab shows them.
 *
 * The server ends a download when its client goes away, and keeps the parts. So what is wanted is kept in the browser:
 * a page that is loaded again asks again, and the download goes on where it was. Of several tabs one does the work (it
 * holds a lock, which passes on when it is closed) and tells the others how far it is.
 */
export interface Pull extends WantedPull {
  state: "waiting" | "running" | "offline" | "failed";
  /** The server's words for what it does. */
  status: string;
  doneBytes: number;
  totalBytes: number;
  bytesPerS: number;
}

/** A browser opens six connections to a server at most, and the page needs some of them. */
const MOST_AT_ONCE = 2;
const TOLD_EVERY_MS = 250;
const RETRY_MS = [1000, 2000, 5000, 10_000, 30_000];
const LOCK = "corral.pulls";

export const pulls = signal<readonly Pull[]>([]);

let wanted: WantedPull[] = [];
let isLeader = false;
let wasStarted = false;
const running = new Map<string, AbortController>();
const facts = new Map<string, Partial<Pull>>();
const channel = new BroadcastChannel(LOCK);

/** Goes on with what was wanted before. Once for a page. */
export function startPulls(): void {
  if (wasStarted) return;
  wasStarted = true;
  wanted = loadWanted();
  watchWanted((list) => change(list, false));
  channel.addEventListener("message", ({ data }: MessageEvent<Pull[]>) => {
    if (isLeader) return;
    const isOver = pulls.peek().some((each) => !data.some((other) => other.model === each.model));
    pulls.value = data;
    if (isOver) void models.refresh();
  });
  void lead();
  show();
}

export function startPull(model: string, isInsecure: boolean): void {
  const others = wanted.filter((each) => each.model !== model);
  change([...others, { model, isInsecure, error: "", hint: "" }], true);
}

/** Ends a pull in all tabs. The parts that were received stay on the server for the next attempt. */
export function cancelPull(model: string): void {
  change(wanted.filter((each) => each.model !== model), true);
}

/** Without locks (a page that came without TLS from another machine) every tab works; the server joins their pulls. */
async function lead(): Promise<void> {
  if (!navigator.locks) return takeOver();
  await navigator.locks.request(LOCK, () => {
    takeOver();
    return new Promise<never>(() => undefined);
  });
}

function takeOver(): void {
  isLeader = true;
  reconcile();
}

function change(list: WantedPull[], isMine: boolean): void {
  wanted = list;
  if (isMine) saveWanted(list);
  reconcile();
}

function reconcile(): void {
  for (const [model, controller] of running) {
    if (!wanted.some((each) => each.model === model && !each.error)) controller.abort();
  }
  if (isLeader) {
    const next = wanted.filter((each) => !each.error && !running.has(each.model));
    for (const each of next.slice(0, Math.max(0, MOST_AT_ONCE - running.size))) void work(each);
  }
  show();
}

async function work(order: WantedPull): Promise<void> {
  const controller = new AbortController();
  const { model } = order;
  running.set(model, controller);
  let attempt = 0;
  try {
    while (!controller.signal.aborted) {
      try {
        await receive(order, controller.signal, () => (attempt = 0));
        settle(model, null);
        return;
      } catch (error) {
        if (!(error instanceof ApiError) || !error.isOffline) throw error;
        note(model, { state: "offline", bytesPerS: 0 });
        await pause(RETRY_MS[Math.min(attempt++, RETRY_MS.length - 1)] ?? 0, controller.signal);
      }
    }
  } catch (error) {
    if (!isAbort(error)) settle(model, error);
  } finally {
    running.delete(model);
    facts.delete(model);
    reconcile();
  }
}

async function receive(order: WantedPull, ended: AbortSignal, onAnswer: () => void): Promise<void> {
  const meter = new TransferMeter();
  let last = "";
  for await (const progress of pull(order.model, order.isInsecure, ended)) {
    const nowMs = performance.now();
    meter.note(progress, nowMs);
    last = progress.status;
    onAnswer();
    note(order.model, {
      state: "running",
      status: progress.digest ? "" : progress.status,
      doneBytes: meter.doneBytes,
      totalBytes: meter.totalBytes,
      bytesPerS: meter.rate(nowMs),
    });
  }
  if (last !== "success") throw new ApiError("the connection to the server was lost", 0);
}

function settle(model: string, error: unknown): void {
  if (error === null) {
    change(wanted.filter((each) => each.model !== model), true);
    toast(t().models.pulled(model), { tone: "good" });
    void models.refresh();
    return;
  }
  const failed = { error: messageOf(error), hint: hintOf(error) };
  change(wanted.map((each) => (each.model === model ? { ...each, ...failed } : each)), true);
}

function note(model: string, found: Partial<Pull>): void {
  facts.set(model, { ...facts.get(model), ...found });
  showSoon();
}

let timer = 0;
let shownMs = 0;

/** The timers of a tab in the background may come once a minute; what arrives shows itself when it is time. */
function showSoon(): void {
  if (performance.now() - shownMs >= TOLD_EVERY_MS) show();
  else timer ||= window.setTimeout(show, TOLD_EVERY_MS);
}

function show(): void {
  clearTimeout(timer);
  timer = 0;
  shownMs = performance.now();
  const known = pulls.peek();
  pulls.value = wanted.map((each) => {
    const blank = { status: "", doneBytes: 0, totalBytes: 0, bytesPerS: 0, state: "waiting" as const };
    const before = isLeader ? facts.get(each.model) : known.find((other) => other.model === each.model);
    return { ...blank, ...before, ...each, ...(each.error && { state: "failed" as const }) };
  });
  if (isLeader) channel.postMessage(pulls.peek());
}

function pause(ms: number, ended: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    ended.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    });
  });
}
