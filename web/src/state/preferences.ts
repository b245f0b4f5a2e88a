import { computed, effect, signal } from "@preact/signals";

import { readLocal, writeLocal } from "../services/storage/small";
import { isLanguage, speak, type Language } from "../texts";

export type Theme = "system" | "light" | "dark";
const THEMES: readonly Theme[] = ["system", "light", "dark"];

export const theme = signal<Theme>(THEMES.find((each) => each === readLocal("theme")) ?? "system");
export const chosenLanguage = signal<Language | "system">(stored(readLocal("language") ?? ""));
/** Whether the sidebar is hidden on wide screens. */
export const isFolded = signal(readLocal("folded") === "1");

const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isSystemDark = signal(systemDark.matches);
systemDark.addEventListener("change", () => (isSystemDark.value = systemDark.matches));

export const isDark = computed(() => (theme.value === "system" ? isSystemDark.value : theme.value === "dark"));

/** Applies the preferences now and whenever they change; resolves when the texts are there. */
export async function startPreferences(): Promise<void> {
  effect(() => {
    writeLocal("theme", theme.value);
    if (theme.value === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme.value;
  });
  effect(() => writeLocal("folded", isFolded.value ? "1" : "0"));
  await speak(wanted());
}

export async function chooseLanguage(choice: Language | "system"): Promise<void> {
  chosenLanguage.value = choice;
  writeLocal("language", choice);
  await speak(wanted());
}

function wanted(): Language {
  if (chosenLanguage.value !== "system") return chosenLanguage.value;
  for (const tag of navigator.languages) {
    const primary = tag.split("-")[0] ?? "";
    if (isLanguage(primary)) return primary;
  }
  return "en";
}

function stored(text: string): Language | "system" {
  return isLanguage(text) ? text : "system";
}
