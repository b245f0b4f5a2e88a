import type { Token } from "marked";

import { lex, toHtml } from "./render";
import { trusted } from "./sanitize";

/** A block of an answer as clean HTML. `key` stays while the block does. */
export interface Block {
  key: number;
  html: string;
}

/**
 * Renders a text that grows. Blocks that nothing can follow into are rendered once; only the open one at the end is
 * parsed again with each piece.
 */
export class MarkdownStream {
  private closed: Block[] = [];
  private closedText = "";
  private last: { raw: string; block: Block } | null = null;

  /** The blocks of the text. It may also shrink or be another one; then everything is rendered. */
  update(text: string): Block[] {
    if (!text.startsWith(this.closedText)) {
      this.closed = [];
      this.closedText = "";
      this.last = null;
    }
    const tokens = lex(text.slice(this.closedText.length));
    const end = openBlock(tokens);
    for (const each of tokens.slice(0, end)) {
      this.closedText += each.raw;
      if (each.type !== "space" && each.type !== "def") this.closed.push(this.block([each], this.closed.length));
    }
    const rest = tokens.slice(end).filter((each) => each.type !== "space");
    if (rest.length === 0) return this.closed;
    const raw = rest.map((each) => each.raw).join("");
    if (this.last?.raw !== raw || this.last.block.key !== this.closed.length) {
      this.last = { raw, block: this.block(rest, this.closed.length) };
    }
    return [...this.closed, this.last.block];
  }

  private block(tokens: Token[], key: number): Block {
    return { key, html: trusted(toHtml(tokens)) };
  }
}

/** Where the last block begins that what comes may still change. */
function openBlock(tokens: Token[]): number {
  let at = tokens.length - 1;
  while (at > 0 && tokens[at]?.type === "space") at -= 1;
  return Math.max(at, 0);
}

/** A finished text, rendered as a whole. */
export function renderWhole(text: string): Block[] {
  const tokens = lex(text).filter((each) => each.type !== "space" && each.type !== "def");
  return tokens.map((each, key) => ({ key, html: trusted(toHtml([each])) }));
}
