import { signal } from "@preact/signals";

import { en, type Texts } from "./en";

export type { Texts } from "./en";

/** The languages by their own names. Another one: a file like de.ts, a line here and one in `LOADERS`. */
export const LANGUAGES = { en: "English", de: "Deutsch" } as const;
export type Language = keyof typeof LANGUAGES;

const LOADERS: Record<Exclude<Language, "en">, () => Promise<Texts>> = {
  de: async () => (await import("./de")).de,
};

const current = signal<{ language: Language; texts: Texts }>({ language: "en", texts: en });

/** The texts in the reader's language. A component that calls this draws itself again when the language changes. */
export function t(): Texts {
  return current.value.texts;
}

export function language(): Language {
  return current.value.language;
}

export function isLanguage(text: string): text is Language {
  return Object.hasOwn(LANGUAGES, text);
}

/** Switch the language; the texts of others than English are loaded first. */
export async function speak(wanted: Language): Promise<void> {
  const texts = wanted === "en" ? en : await LOADERS[wanted]();
  current.value = { language: wanted, texts };
  document.documentElement.lang = wanted;
}
