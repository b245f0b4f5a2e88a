import { signal } from "@preact/signals";

import type { Chat } from "../../services/chats/types";

/** What is open on this page, for the buttons and shortcuts that open it. */
export const isSettingsOpen = signal(false);
export const renamed = signal<{ chat: Chat; field: "title" | "folder" } | null>(null);
/** The message that is being edited. */
export const editedId = signal<string | null>(null);
/** Asks the composer, or the search, to take the focus: counts up. */
export const wantsComposer = signal(0);
export const wantsSearch = signal(0);
