import type { TokenizerAndRendererExtension, Tokens } from "marked";

import { escapeHtml } from "./escape";

const MOST_CHARS = 4000;

/** `$$…$$`, `\[…\]`, `\(…\)` and `$…$`; the last not where it looks like money: `$5 and $6`. */
const DISPLAY = /^(?:\$\$([^]+?)\$\$|\\\[([^]+?)\\\])/;
const INLINE = /^(?:\\\(([^\n]+?)\\\)|\$\$([^$\n]+?)\$\$|\$(?![\s$])((?:\\.|[^$\\\n])+?)(?<![\s\\])\$(?![\d$]))/;

function rendered(token: Tokens.Generic): string {
  const tex = String(token["tex"]);
  const isDisplay = token["isDisplay"] === true;
  // The text itself stands there until the formula is drawn, and if it cannot be.
  const shown = escapeHtml(tex.trim());
  const name = isDisplay ? "math math-display" : "math";
  const tag = isDisplay ? "div" : "span";
  return `<${tag} class="${name}" dir="ltr" data-math="${shown}">${shown}</${tag}>`;
}

function token(type: string, match: RegExpExecArray | null, isDisplay: boolean): Tokens.Generic | undefined {
  const tex = match?.slice(1).find((each) => each !== undefined);
  if (!match || !tex || tex.trim() === "" || tex.length > MOST_CHARS) return undefined;
  return { type, raw: match[0], tex, isDisplay };
}

export const mathExtensions: TokenizerAndRendererExtension[] = [
  {
    name: "mathBlock",
    level: "block",
    start: (text) => /(?:^|\n) {0,3}(?:\$\$|\\\[)/.exec(text)?.index,
    tokenizer(text) {
      const indent = /^ {0,3}/.exec(text)?.[0] ?? "";
      const found = token("mathBlock", DISPLAY.exec(text.slice(indent.length)), true);
      return found && { ...found, raw: indent + found.raw };
    },
    renderer: rendered,
  },
  {
    name: "mathInline",
    level: "inline",
    start: (text) => /\$|\\[([]/.exec(text)?.index,
    tokenizer(text) {
      const display = text.startsWith("\\[") ? token("mathInline", DISPLAY.exec(text), true) : undefined;
      return display ?? token("mathInline", INLINE.exec(text), false);
    },
    renderer: rendered,
  },
];
