import { address, authorization } from "./client";
import { ApiError, readError } from "./errors";

/**
 * Send a file as a blob. The browser reads it from the disk as it goes, so its size does not matter; `fetch` cannot
 * tell how far it is, so this is an XMLHttpRequest.
 *
 * @param onSent gets the bytes sent so far.
 * @throws ApiError, or an AbortError if `signal` ended it.
 */
export function uploadBlob(
  digest: string,
  file: Blob,
  onSent: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = (): void => request.abort();
    request.open("POST", address(`/api/blobs/${digest}`));
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => onSent(event.loaded);
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) return resolve();
      const { message, hint } = readError(request.responseText);
      reject(new ApiError(message || String(request.status), request.status, hint));
    };
    request.onerror = () => reject(new ApiError("the connection to the server was lost", 0));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", stop);
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    else request.send(file);
  });
}
