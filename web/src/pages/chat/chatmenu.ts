import { FileJson, FileText, Folder, Pencil, Pin, PinOff, Trash2 } from "lucide";

import type { MenuItem } from "../../components/Menu";
import type { Chat } from "../../services/chats/types";
import { stopAll } from "../../state/chats/actions";
import { changeChat, deleteChat, restoreChat } from "../../state/chats/library";
import { exportJson, exportMarkdown } from "../../state/chats/transfer";
import { go, route } from "../../state/route";
import { toast } from "../../state/toasts";
import { t } from "../../texts";
import { renamed } from "./open";

export function chatMenuItems(chat: Chat): MenuItem[] {
  const texts = t().chat;
  return [
    { label: t().common.rename, icon: Pencil, run: () => (renamed.value = { chat, field: "title" }) },
    {
      label: chat.isPinned ? texts.unpin : texts.pin,
      icon: chat.isPinned ? PinOff : Pin,
      run: () => void changeChat(chat.id, { isPinned: !chat.isPinned }),
    },
    { label: texts.moveTo, icon: Folder, run: () => (renamed.value = { chat, field: "folder" }) },
    "line",
    { label: texts.exportMarkdown, icon: FileText, run: () => void exportMarkdown(chat) },
    { label: texts.exportJson, icon: FileJson, run: () => void exportJson([chat]) },
    "line",
    { label: t().common.delete, icon: Trash2, tone: "bad", run: () => removeChat(chat) },
  ];
}

/** Deleting can be undone for a while, so nobody is asked first. */
export function removeChat(chat: Chat): void {
  stopAll(chat.id);
  void deleteChat(chat.id);
  if (route.peek().rest[0] === chat.id) go("chat");
  toast(t().chat.deleted(chat.title || t().chat.untitled), {
    action: { label: t().common.undo, run: () => void restoreChat(chat.id).then(() => go("chat", chat.id)) },
  });
}
