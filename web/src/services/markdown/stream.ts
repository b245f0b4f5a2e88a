import type { Token } from "marked";

import { highlighterVersion } from "./highlight";
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
  // Closed blocks by kind and text, as the highlighter of this version made them.
  private readonly made = new Map<string, string>();
  private version = highlighterVersion.peek();

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
      if (each.type === "space" || each.type === "def") continue;
      const block = this.block([each], this.closed.length);
      this.closed.push(block);
      this.made.set(each.type + each.raw, block.html);
    }
    const rest = tokens.slice(end).filter((each) => each.type !== "space");
    if (rest.length === 0) return this.closed;
    const raw = rest.map((each) => each.raw).join("");
    if (this.last?.raw !== raw || this.last.block.key !== this.closed.length) {
      this.last = { raw, block: this.block(rest, this.closed.length) };
    }
    return [...this.closed, this.last.block];
  }

  /** The blocks of the text when it is complete: as `renderWhole` gives them, but what was made already is not made again. */
  whole(text: string): Block[] {
    const all = lex(text);
    const hasReferences = all.some((each) => each.type === "def");
    if (hasReferences || this.version !== highlighterVersion.peek()) this.made.clear();
    this.version = highlighterVersion.peek();
    return blocksOf(all, (each) => this.made.get(each.type + each.raw));
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
  return blocksOf(lex(text), () => undefined);
}

function blocksOf(tokens: Token[], made: (token: Token) => string | undefined): Block[] {
  const shown = tokens.filter((each) => each.type !== "space" && each.type !== "def");
  return shown.map((each, key) => ({ key, html: made(each) ?? trusted(toHtml([each])) }));
}
