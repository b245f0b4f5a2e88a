import { effect, signal } from "@preact/signals";

import { hintOf, isAbort, messageOf } from "../../services/api/errors";
import { create, hasBlob, type CreateOrder } from "../../services/api/library";
import { uploadBlob } from "../../services/api/upload";
import { digestOf } from "../../services/digest";
import { t } from "../../texts";
import { models } from "../server";
import { toast } from "../toasts";

/** A model that is being made of files of the reader. The files are in this tab alone, so it ends with the tab. */
export interface Creation {
  id: number;
  model: string;
  stage: "reading" | "sending" | "creating" | "failed";
  /** The server's words for what it does. */
  status: string;
  doneBytes: number;
  totalBytes: number;
  error: string;
  hint: string;
}

interface Order {
  model: string;
  files: readonly File[];
  quantize: string;
}

export const creations = signal<readonly Creation[]>([]);

const orders = new Map<number, Order>();
const controllers = new Map<number, AbortController>();
/** What every GGUF file begins with: "GGUF". */
const MAGIC = [0x47, 0x47, 0x55, 0x46];
let serial = 0;

// A tab that is closed while it sends loses what it sent: the browser asks before.
effect(() => {
  if (creations.value.some((each) => each.stage !== "failed")) addEventListener("beforeunload", hold);
  else removeEventListener("beforeunload", hold);
});

function hold(event: BeforeUnloadEvent): void {
  event.preventDefault();
}

export function createOfFiles(order: Order): void {
  const id = ++serial;
  orders.set(id, order);
  void work(id, order);
}

export function retryCreation(id: number): void {
  const order = orders.get(id);
  if (order) void work(id, order);
}

/** Stops it, or takes a failed one off the list. */
export function endCreation(id: number): void {
  controllers.get(id)?.abort();
  orders.delete(id);
  creations.value = creations.value.filter((each) => each.id !== id);
}

async function work(id: number, order: Order): Promise<void> {
  const controller = new AbortController();
  controllers.set(id, controller);
  const totalBytes = order.files.reduce((sum, file) => sum + file.size, 0);
  const blank = { id, model: order.model, status: "", doneBytes: 0, totalBytes, error: "", hint: "" };
  put({ ...blank, stage: "reading" });
  try {
    for (const file of order.files) await checkKind(file);
    const files = await send(id, order, controller.signal);
    note(id, { stage: "creating", doneBytes: 0, totalBytes: 0 });
    const wanted: CreateOrder = { model: order.model, files };
    if (order.quantize) wanted.quantize = order.quantize;
    for await (const { status } of create(wanted, controller.signal)) note(id, { status });
    endCreation(id);
    toast(t().models.created(order.model), { tone: "good" });
    void models.refresh();
  } catch (error) {
    if (!isAbort(error)) note(id, { stage: "failed", error: messageOf(error), hint: hintOf(error) });
  } finally {
    controllers.delete(id);
  }
}

/** Says at once what the server would say after a long upload. @throws Error */
async function checkKind(file: File): Promise<void> {
  const head = new Uint8Array(await file.slice(0, MAGIC.length).arrayBuffer());
  if (!MAGIC.every((byte, at) => head[at] === byte)) throw new Error(t().models.notGgufFile(file.name));
}

/** Digests of the files by their names, when the server has them all. */
async function send(id: number, order: Order, ended: AbortSignal): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  let before = 0;
  for (const file of order.files) {
    const base = before;
    note(id, { stage: "reading", doneBytes: base });
    const digest = await digestOf(file, (bytes) => note(id, { doneBytes: base + bytes }), ended);
    if (!(await hasBlob(digest, ended))) {
      note(id, { stage: "sending", doneBytes: base });
      await uploadBlob(digest, file, (bytes) => note(id, { doneBytes: base + bytes }), ended);
    }
    found[file.name] = digest;
    before += file.size;
  }
  return found;
}

function put(creation: Creation): void {
  const others = creations.value.filter((each) => each.id !== creation.id);
  creations.value = [...others, creation];
}

function note(id: number, change: Partial<Creation>): void {
  creations.value = creations.value.map((each) => (each.id === id ? { ...each, ...change } : each));
}
