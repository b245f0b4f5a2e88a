import { call, type CallOptions } from "./client";
import { ApiError, isAbort, isRecord, readError } from "./errors";

/**
 * The objects of a streamed answer (one JSON object a line), as they arrive.
 *
 * Leaving the loop ends the request, and with it the work of the server.
 *
 * @throws ApiError: also for an error within the stream, and for a stream that breaks off.
 */
export async function* streamObjects<T extends object>(path: string, options: CallOptions): AsyncGenerator<T> {
  for await (const line of streamLines(path, options)) {
    if (line.trim() === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw new ApiError("a line of the answer is not JSON", 0);
    }
    if (isRecord(value) && "error" in value) {
      const { message, hint } = readError(line);
      throw new ApiError(message, 200, hint);
    }
    yield value as T;
  }
}

/** One server-sent event. */
export interface ServerEvent {
  id: string;
  event: string;
  data: string;
}

/** The events of an event stream, until the server ends it. Comments and empty events are left out. */
export async function* streamEvents(path: string, options: CallOptions): AsyncGenerator<ServerEvent> {
  let event: ServerEvent = { id: "", event: "message", data: "" };
  for await (const line of streamLines(path, options)) {
    if (line === "") {
      if (event.data) yield { ...event, data: event.data.slice(0, -1) };
      event = { id: event.id, event: "message", data: "" };
      continue;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") event.data += `${value}\n`;
    else if (name === "event") event.event = value;
    else if (name === "id") event.id = value;
  }
}

/** The lines of an answer without their ends; what follows the last line end is a line, too. */
export async function* streamLines(path: string, options: CallOptions): AsyncGenerator<string> {
  const response = await call(path, options);
  if (!response.body) throw new ApiError("the answer has no body", response.status);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const lines = (rest + decoder.decode(value, { stream: !done })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) yield line.replace(/\r$/, "");
      if (done) break;
    }
    if (rest) yield rest;
  } catch (error) {
    if (isAbort(error) || error instanceof ApiError) throw error;
    throw new ApiError("the connection to the server was lost", 0);
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
