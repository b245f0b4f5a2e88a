import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";

import { expect, test } from "vitest";

// A folder may import those before it. `texts` is for all; what is beside the folders (main.tsx) puts them together.
const LAYERS = ["services", "state", "components", "pages", "app"];
const MAX_LINES = 400;
const SOURCE = join(import.meta.dirname, "../src");

function files(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : [path];
  });
}

function layer(path: string): number {
  return LAYERS.indexOf(relative(SOURCE, path).split("/")[0] ?? "");
}

const sources = files(SOURCE).filter((path) => /\.tsx?$/.test(path));

test.each(sources.map((path) => relative(SOURCE, path)))("%s imports from layers below", (name) => {
  const path = join(SOURCE, name);
  const text = readFileSync(path, "utf8");
  // The texts of a language are one file, however many there are: so they are translated together.
  if (!name.startsWith("texts/")) expect(text.split("\n").length).toBeLessThanOrEqual(MAX_LINES);
  const mine = layer(path);
  if (mine < 0) return;
  for (const match of text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)) {
    const target = normalize(join(dirname(path), match[1] ?? ""));
    expect(layer(target), `${name} imports ${match[1]}`).toBeLessThanOrEqual(mine);
    // One page knows nothing of another.
    const [from, to] = [path, target].map((each) => relative(SOURCE, each).split("/"));
    if (from?.[0] === "pages" && to?.[0] === "pages" && from.length > 2) {
      expect(to[1], `${name} imports ${match[1]}`).toBe(from[1]);
    }
  }
});
