import type { Chat } from "../../services/chats/types";
import { t } from "../../texts";

export interface Group {
  id: string;
  label: string;
  isFolder: boolean;
  chats: Chat[];
}

const DAY_MS = 86_400_000;

/** Chats as the sidebar shows them: pinned ones, folders, then the others by their age. */
export function groupsOf(chats: readonly Chat[], nowMs = Date.now()): Group[] {
  const texts = t().chat;
  const groups = new Map<string, Group>();
  const put = (id: string, label: string, chat: Chat, isFolder = false): void => {
    const found = groups.get(id) ?? { id, label, isFolder, chats: [] };
    found.chats.push(chat);
    groups.set(id, found);
  };
  const midnight = new Date(nowMs).setHours(0, 0, 0, 0);
  const folders = chats.filter((each) => !each.isPinned && each.folder);
  for (const each of chats.filter((chat) => chat.isPinned)) put("pinned", texts.pinned, each);
  for (const each of folders.sort((one, other) => one.folder.localeCompare(other.folder))) {
    put(`folder ${each.folder}`, each.folder, each, true);
  }
  for (const each of chats.filter((chat) => !chat.isPinned && !chat.folder)) {
    if (each.updatedAt >= midnight) put("today", texts.today, each);
    else if (each.updatedAt >= midnight - DAY_MS) put("yesterday", texts.yesterday, each);
    else if (each.updatedAt >= midnight - 7 * DAY_MS) put("week", texts.week, each);
    else put("older", texts.older, each);
  }
  return [...groups.values()];
}
