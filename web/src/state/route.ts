import { computed, signal } from "@preact/signals";

/** Where the reader is: `#/models/qwen3:8b` is the page `models` with the rest `["qwen3:8b"]`; no page: the first. */
export interface Route {
  page: string;
  rest: string[];
}

const hash = signal(location.hash);
addEventListener("hashchange", () => (hash.value = location.hash));

export const route = computed(() => parseRoute(hash.value));

export function parseRoute(text: string): Route {
  const parts = text.replace(/^#?\/?/, "").split("/").filter(Boolean).map(decoded);
  return { page: parts[0] ?? "", rest: parts.slice(1) };
}

/** The address of a page, for `href`. */
export function link(page: string, ...rest: string[]): string {
  return `#/${[page, ...rest].map(encodeURIComponent).join("/")}`;
}

export function go(page: string, ...rest: string[]): void {
  location.hash = link(page, ...rest);
  hash.value = location.hash;
}

/** The same without an entry in the history of the browser. */
export function replace(page: string, ...rest: string[]): void {
  history.replaceState(null, "", link(page, ...rest));
  hash.value = location.hash;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
