import { trustedScript } from "../trusted";
import workerUrl from "./worker?worker&url";

export type DigestReport =
  | { kind: "read"; bytes: number }
  | { kind: "done"; digest: string }
  | { kind: "failed"; message: string };

/**
 * The digest of a file as the server names it (`sha256:…`), computed in a worker without holding the file in memory:
 * the browser's own SHA-256 takes whole buffers alone.
 *
 * @param onRead gets the bytes read so far.
 * @throws Error if the file cannot be read, or an AbortError.
 */
export function digestOf(file: Blob, onRead: (bytes: number) => void, signal: AbortSignal): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    if (signal.aborted) return reject(new DOMException("stopped", "AbortError"));
    const worker = new Worker(trustedScript(workerUrl), { type: "module" });
    const end = (): void => {
      worker.terminate();
      signal.removeEventListener("abort", onAbort);
    };
    const onAbort = (): void => {
      end();
      reject(new DOMException("stopped", "AbortError"));
    };
    signal.addEventListener("abort", onAbort);
    worker.onmessage = ({ data }: MessageEvent<DigestReport>) => {
      if (data.kind === "read") return onRead(data.bytes);
      end();
      if (data.kind === "done") resolve(data.digest);
      else reject(new Error(data.message));
    };
    worker.onerror = (event) => {
      end();
      reject(new Error(event.message || "the worker could not be started"));
    };
    worker.postMessage(file);
  });
}
