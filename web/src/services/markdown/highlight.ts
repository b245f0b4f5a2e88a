import type { HLJSApi } from "highlight.js";
import { signal } from "@preact/signals";

import { escapeHtml } from "./escape";

// A long text costs more time than it is worth.
const MOST_CHARS = 60_000;
let engine: HLJSApi | null = null;
let loading: Promise<void> | null = null;

/** Counts up when the highlighter has come: what was rendered without it can be rendered again. */
export const highlighterVersion = signal(0);

/** Code as HTML, coloured if the language is known and the highlighter is there; it is fetched at the first call. */
export function highlight(code: string, language: string): string {
  if (!engine) {
    void loadHighlighter();
    return escapeHtml(code);
  }
  if (!language || code.length > MOST_CHARS || !engine.getLanguage(language)) return escapeHtml(code);
  return engine.highlight(code, { language, ignoreIllegals: true }).value;
}

export function loadHighlighter(): Promise<void> {
  loading ??= import("./languages").then((module) => {
    engine = module.makeHighlighter();
    highlighterVersion.value += 1;
  });
  return loading;
}
