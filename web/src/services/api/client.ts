import { ApiError, errorOf, isAbort } from "./errors";

/** What `call` can be told besides the path. `body` becomes JSON unless it is binary already. */
export interface CallOptions {
  method?: string;
  body?: unknown;
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
  /** Take a refusal for want of a key as an answer, instead of asking the reader for one. */
  isQuiet?: boolean;
}

/** Gives the key to send (empty: none), and a new one when the server wants one; null: the reader gave up. */
export interface KeySource {
  current(): string;
  ask(refused: boolean): Promise<string | null>;
}

let keys: KeySource = { current: () => "", ask: () => Promise.resolve(null) };

export function useKeys(source: KeySource): void {
  keys = source;
}

/** The header that carries the key; empty without one. */
export function authorization(key = keys.current()): Record<string, string> {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** The address of a route. The page lies in `ui/` below whatever prefix a proxy gives the server. */
export function address(path: string): string {
  const root = location.pathname.replace(/\/ui\/.*$|\/[^/]*$/, "");
  return `${location.origin}${root}${path}`;
}

/**
 * The answer of a successful call; the body is still to be read.
 *
 * A refusal for want of a key asks the reader for one and tries again, so no work is lost by it.
 *
 * @throws ApiError, or an AbortError if `signal` ended the call.
 */
export async function call(path: string, options: CallOptions = {}): Promise<Response> {
  let key = keys.current();
  for (;;) {
    const response = await send(path, options, key);
    if (response.ok) return response;
    const error = await errorOf(response);
    if (error.status !== 401 || options.isQuiet) throw error;
    const next = await keys.ask(key !== "");
    if (next === null) throw error;
    key = next;
  }
}

async function send(path: string, options: CallOptions, key: string): Promise<Response> {
  const { body } = options;
  const isBinary = body instanceof Blob || body instanceof ArrayBuffer || typeof body === "string";
  const headers: Record<string, string> = { ...options.headers, ...authorization(key) };
  if (body !== undefined && !isBinary) headers["Content-Type"] = "application/json";
  try {
    return await fetch(address(path), {
      method: options.method ?? (body === undefined ? "GET" : "POST"),
      headers,
      body: body === undefined ? null : isBinary ? (body as BodyInit) : JSON.stringify(body),
      signal: options.signal ?? null,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError("the server does not answer", 0);
  }
}

/** The JSON of a call's answer. @throws ApiError */
export async function callJson<T>(path: string, options: CallOptions = {}): Promise<T> {
  const response = await call(path, options);
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError("the answer of the server is not JSON, or was cut off", response.status);
  }
}
