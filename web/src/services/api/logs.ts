import { callJson } from "./client";

export interface LogLine {
  number: number;
  at: string;
  level: string;
  logger: string;
  message: string;
}

/** The lines of the server's log after a number (0: all that it keeps), oldest first. */
export async function readLog(after: number, signal: AbortSignal): Promise<LogLine[]> {
  return (await callJson<{ lines: LogLine[] }>(`/api/logs?after=${after}`, { signal })).lines;
}
