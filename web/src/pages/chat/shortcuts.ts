import { copyText } from "../../services/clipboard";
import type { Message } from "../../services/chats/types";
import { regenerate, stopAll } from "../../state/chats/actions";
import { conversationOf } from "../../state/chats/conversation";
import { chats } from "../../state/chats/library";
import { go } from "../../state/route";
import { useShortcuts } from "../../state/shortcuts";
import { toast } from "../../state/toasts";
import { t } from "../../texts";
import { editedId, isSettingsOpen, wantsComposer } from "./open";

export function useChatShortcuts(chatId: string | null): void {
  const last = (role: Message["role"]): Message | undefined =>
    chatId === null ? undefined : conversationOf(chatId).path.peek().findLast((each) => each.role === role);

  useShortcuts([
    { keys: "/", group: "chat", label: (texts) => texts.chat.shortcutWrite, run: () => (wantsComposer.value += 1) },
    {
      keys: "Escape",
      group: "chat",
      label: (texts) => texts.chat.shortcutStop,
      inFields: true,
      run: () => {
        if (editedId.value) editedId.value = null;
        else if (chatId !== null) stopAll(chatId);
      },
    },
    {
      keys: "mod+shift+c",
      group: "chat",
      label: (texts) => texts.chat.shortcutCopy,
      run: () => void copyLast(last("assistant")),
    },
    {
      keys: "mod+shift+r",
      group: "chat",
      label: (texts) => texts.chat.shortcutRegenerate,
      run: () => {
        const message = last("assistant");
        if (message && message.state !== "streaming") void regenerate(message);
      },
    },
    {
      keys: "mod+shift+e",
      group: "chat",
      label: (texts) => texts.chat.shortcutEdit,
      run: () => (editedId.value = last("user")?.id ?? null),
    },
    {
      keys: "mod+,",
      group: "chat",
      label: (texts) => texts.chat.shortcutSettings,
      run: () => (isSettingsOpen.value = true),
    },
    { keys: "alt+ArrowUp", group: "chat", label: (texts) => texts.chat.shortcutPrevious, inFields: true, run: () => step(chatId, -1) },
    { keys: "alt+ArrowDown", group: "chat", label: (texts) => texts.chat.shortcutNext, inFields: true, run: () => step(chatId, 1) },
  ]);
}

async function copyLast(message: Message | undefined): Promise<void> {
  if (!message) return;
  const isDone = await copyText(message.content);
  toast(isDone ? t().common.copied : t().common.copyFailed, { tone: isDone ? "good" : "bad" });
}

function step(chatId: string | null, by: number): void {
  const list = chats.peek();
  const at = list.findIndex((each) => each.id === chatId);
  const next = list[at < 0 ? (by > 0 ? 0 : -1) : at + by];
  if (next) go("chat", next.id);
}
