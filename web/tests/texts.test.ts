import { expect, test } from "vitest";

import { de } from "../src/texts/de";
import { en } from "../src/texts/en";
import { language, speak, t } from "../src/texts";

type Tree = Record<string, unknown>;

function leaves(tree: Tree, prefix = ""): [string, unknown][] {
  return Object.entries(tree).flatMap(([key, value]): [string, unknown][] =>
    typeof value === "object" && value !== null ? leaves(value as Tree, `${prefix}${key}.`) : [[prefix + key, value]],
  );
}

test("German has every text, with the same values in it", () => {
  const english = new Map(leaves(en));
  const german = new Map(leaves(de));
  expect([...german.keys()].sort()).toEqual([...english.keys()].sort());
  for (const [key, text] of english) {
    const other = german.get(key);
    expect(typeof other, key).toBe(typeof text);
    if (typeof text === "function") expect((other as () => string).length, key).toBe(text.length);
    else expect(other, key).not.toBe("");
  }
});

test("German is not a copy of English", () => {
  const english = new Map(leaves(en));
  const same = leaves(de).filter(([key, text]) => typeof text === "string" && text === english.get(key));
  expect(same.length / english.size).toBeLessThan(0.2);
});

test("switching the language switches the texts and the language of the document", async () => {
  expect(t().common.cancel).toBe("Cancel");
  await speak("de");
  expect([language(), document.documentElement.lang, t().common.cancel]).toEqual(["de", "de", "Abbrechen"]);
  await speak("en");
});
