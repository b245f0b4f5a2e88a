import type { Progress } from "../../services/api/library";

/** The rate is that of the last seconds: a download that has slowed down says so soon. */
const WINDOW_MS = 8000;

interface Layer {
  total: number;
  done: number;
  /** What was there when it was first reported: kept from an earlier attempt, not received now. */
  kept: number;
}

/** Adds up the layers of a transfer, and tells how fast it is. */
export class TransferMeter {
  private readonly layers = new Map<string, Layer>();
  private samples: { atMs: number; bytes: number }[] = [];

  note(progress: Progress, nowMs: number): void {
    if (progress.total === undefined) return;
    const name = progress.digest ?? "";
    const done = progress.completed ?? 0;
    const kept = this.layers.get(name)?.kept ?? done;
    this.layers.set(name, { total: progress.total, done, kept: Math.min(kept, done) });
    this.sample(nowMs);
  }

  get totalBytes(): number {
    return this.sum((layer) => layer.total);
  }

  get doneBytes(): number {
    return this.sum((layer) => layer.done);
  }

  /** Bytes a second; 0 while it is not known. */
  rate(nowMs: number): number {
    const recent = this.samples.filter((each) => nowMs - each.atMs <= WINDOW_MS);
    const first = recent[0];
    const last = recent.at(-1);
    if (!first || !last || nowMs - first.atMs < 500) return 0;
    return (1000 * (last.bytes - first.bytes)) / (nowMs - first.atMs);
  }

  private sample(nowMs: number): void {
    const bytes = this.sum((layer) => layer.done - layer.kept);
    const last = this.samples.at(-1);
    if (last && nowMs - last.atMs < 100) last.bytes = bytes;
    else this.samples = [...this.samples.filter((each) => nowMs - each.atMs <= WINDOW_MS), { atMs: nowMs, bytes }];
  }

  private sum(of: (layer: Layer) => number): number {
    let sum = 0;
    for (const layer of this.layers.values()) sum += of(layer);
    return sum;
  }
}
