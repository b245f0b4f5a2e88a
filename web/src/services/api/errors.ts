/** What a call to the server can end with, when it does not end well. */
export class ApiError extends Error {
  /** `status` is 0 if there was no answer at all; `hint` says what to do about it and may be empty. */
  constructor(
    message: string,
    readonly status: number,
    readonly hint = "",
    readonly retryAfterS: number | null = null,
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** Whether the server could not be reached, or broke off. */
  get isOffline(): boolean {
    return this.status === 0;
  }
}

/** Whether the caller itself ended the call. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Whether the server wants a key, or one that may do more: to ask again does not help. */
export function isRefusal(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 401 || error.status === 403);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function hintOf(error: unknown): string {
  return error instanceof ApiError ? error.hint : "";
}

/** The error of an answer that is not a success; its body may be anything. */
export async function errorOf(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => "");
  const { message, hint } = readError(text);
  const after = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  return new ApiError(
    message || `${response.status} ${response.statusText}`.trim(),
    response.status,
    hint,
    Number.isFinite(after) ? after : null,
  );
}

/** Text and hint of an error body in one of the forms that the server's APIs have. */
export function readError(text: string): { message: string; hint: string } {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return { message: text.trim().slice(0, 500), hint: "" };
  }
  if (!isRecord(body)) return { message: "", hint: "" };
  const hint = typeof body["hint"] === "string" ? body["hint"] : "";
  const error = body["error"];
  if (typeof error === "string") return { message: error, hint };
  if (isRecord(error) && typeof error["message"] === "string") {
    return { message: error["message"], hint: typeof error["hint"] === "string" ? error["hint"] : hint };
  }
  return { message: "", hint };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
