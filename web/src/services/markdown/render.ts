import { Marked, type RendererObject, type Token, type Tokens } from "marked";

import { t } from "../../texts";
import { escapeHtml } from "./escape";
import { highlight } from "./highlight";
import { mathExtensions } from "./math";

// HTML in an answer is shown as the text that it is, but for these marks, which have no attributes.
const MARKS = /^<(?:\/?(?:b|i|em|strong|sub|sup|kbd|mark|u|s|ins|del|small|q|details|summary)|br\s*\/?|hr\s*\/?)>$/i;
const MOST_NESTED = 60;

const renderer: RendererObject = {
  html({ text }) {
    const pieces = text.split(/(<\/?[a-z]+\s*\/?>)/i);
    return pieces.map((each) => (MARKS.test(each) ? each : escapeHtml(each))).join("");
  },
  code({ text, lang }) {
    const language = /^[\w+#.-]{1,40}/.exec((lang ?? "").trim())?.[0]?.toLowerCase() ?? "";
    const copy = escapeHtml(t().common.copy);
    const head =
      `<div class="code-head"><span class="code-lang">${escapeHtml(language)}</span>` +
      `<button type="button" class="code-tools" data-action="copy-code">${copy}</button></div>`;
    // Wide code scrolls; with the keyboard, too.
    return (
      `<div class="code" dir="ltr">${head}<pre tabindex="0"><code class="hljs">` +
      `${highlight(text.replace(/\n$/, ""), language)}</code></pre></div>`
    );
  },
  image({ href, text }) {
    if (href.startsWith("data:image/")) return `<img src="${escapeHtml(href)}" alt="${escapeHtml(text)}">`;
    // A foreign image would report to its server that, and when, the answer is read.
    const shown = escapeHtml(text || href);
    return `<a class="image-link" href="${escapeHtml(href)}">${shown}</a>`;
  },
  link({ href, title, tokens }) {
    const named = title ? ` title="${escapeHtml(title)}"` : "";
    return `<a href="${escapeHtml(href)}"${named}>${this.parser.parseInline(tokens)}</a>`;
  },
  table(token: Tokens.Table) {
    const cell = (each: Tokens.TableCell, tag: string): string => {
      const align = each.align ? ` class="md-align-${each.align}"` : "";
      return `<${tag}${align} dir="auto">${this.parser.parseInline(each.tokens)}</${tag}>`;
    };
    const head = token.header.map((each) => cell(each, "th")).join("");
    const rows = token.rows.map((row) => `<tr>${row.map((each) => cell(each, "td")).join("")}</tr>`).join("");
    return (
      `<div class="table-scroll" tabindex="0"><table><thead><tr>${head}</tr></thead><tbody>${rows}</tbody></table></div>`
    );
  },
  checkbox({ checked }) {
    const label = escapeHtml(checked ? t().chat.taskDone : t().chat.taskOpen);
    return `<input type="checkbox" class="task" aria-label="${label}" ${checked ? "checked " : ""}disabled> `;
  },
  paragraph({ tokens }) {
    return `<p dir="auto">${this.parser.parseInline(tokens)}</p>\n`;
  },
  heading({ tokens, depth }) {
    // The page has h1 and h2 of its own.
    const level = Math.min(depth + 2, 6);
    return `<h${level} dir="auto">${this.parser.parseInline(tokens)}</h${level}>\n`;
  },
};

const marked = new Marked({ gfm: true, breaks: false, async: false, renderer, extensions: mathExtensions });

/** The blocks of a text: paragraphs, lists, code and so on, with the text that each of them is made of in `raw`. */
export function lex(text: string): Token[] {
  if (nesting(text) > MOST_NESTED) return [{ type: "code", raw: text, text, lang: "" } satisfies Tokens.Code];
  return marked.lexer(text);
}

/** HTML that was not cleaned: `trusted` comes after it, and nothing else. */
export function toHtml(tokens: Token[]): string {
  return marked.parser(tokens);
}

/** About how deep quotes and lists are nested: thousands of `>` would end the parser. */
function nesting(text: string): number {
  let most = 0;
  for (const match of text.matchAll(/^[ \t]*(?:(?:[>*+-]|\d+[.)])[ \t]*)+/gm)) {
    const depth = match[0].replace(/[^>*+\-.)]/g, "").length;
    if (depth > most) most = depth;
  }
  for (const match of text.matchAll(/[[(]{20,}|[*_]{100,}/g)) most = Math.max(most, match[0].length);
  return most;
}
