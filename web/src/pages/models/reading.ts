/** What is read out of what people and the server write: names of files, addresses of registries, errors. */

const SPLIT = /-\d{5}-of-\d{5}$/i;

/** A name for a model made of a file: what is not allowed in names becomes a hyphen. */
export function modelNameOf(fileName: string): string {
  const stem = fileName.replace(/\.gguf$/i, "").replace(SPLIT, "");
  const name = stem
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "");
  return name.slice(0, 80) || "my-model";
}

/** Whether a name begins with a registry that may have no TLS: an own host, and not one that is known to have it. */
export function mayBeInsecure(model: string): boolean {
  const host = model.trim().replace(/^https?:\/\//, "").split("/")[0] ?? "";
  const isHost = model.includes("/") && (/[.:]/.test(host) || host === "localhost");
  return isHost && !/^(registry\.)?ollama\.(ai|com)$|^(hf\.co|huggingface\.co)$/i.test(host);
}

/** The line of a Modelfile that an error of the server is about, from 1; null if it names none. */
export function lineOfError(message: string): number | null {
  const match = /^modelfile in line (\d+):/.exec(message);
  return match ? Number(match[1]) : null;
}

/** The error without the line in front of it, for a place that shows the line. */
export function withoutLine(message: string): string {
  return message.replace(/^modelfile in line \d+: (\(line \d+\): )?/, "");
}

/** Where a line is in a text: its first and last character. */
export function rangeOfLine(text: string, line: number): [start: number, end: number] {
  const ends = [...text.matchAll(/\r\n|\r|\n/g)].map((match) => [match.index, match.index + match[0].length] as const);
  const start = line <= 1 ? 0 : (ends[line - 2]?.[1] ?? text.length);
  const end = ends[line - 1]?.[0] ?? text.length;
  return [start, end];
}

export function lineCount(text: string): number {
  return text.split(/\r\n|\r|\n/).length;
}

/** The lines of `parameters` of /api/show: a name, spaces, and a value that may be quoted. */
export function readParameters(text: string): { name: string; value: string }[] {
  return text
    .split("\n")
    .map((line) => /^(\S+)\s+(.*)$/.exec(line.trim()))
    .flatMap((match) => (match ? [{ name: match[1] ?? "", value: match[2] ?? "" }] : []));
}
