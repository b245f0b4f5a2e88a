import { MessageSquareOff } from "lucide";
import type { VNode } from "preact";
import { useEffect } from "preact/hooks";

import { Button } from "../../components/Button";
import { Empty, Skeleton } from "../../components/States";
import { draftSettings, resetDraft } from "../../state/chats/actions";
import { conversationOf } from "../../state/chats/conversation";
import { changeSettings, chatOf, isLibraryReady } from "../../state/chats/library";
import { go, replace, route } from "../../state/route";
import { models } from "../../state/server";
import type { ChatSettings } from "../../services/chats/types";
import { t } from "../../texts";
import { ChatHead } from "./ChatHead";
import { Composer } from "./Composer";
import { DropZone } from "./DropZone";
import { MessageList } from "./MessageList";
import { StorageNotice } from "./StorageNotice";
import { useChatShortcuts } from "./shortcuts";
import { Welcome } from "./Welcome";
import "./chat.css";

export default function ChatPage(): VNode {
  const [chatId = null, messageId = null] = route.value.rest;
  useEffect(() => void models.refresh(), []);
  useEffect(() => {
    if (chatId === null) resetDraft();
  }, [chatId]);
  useDefaultModel(chatId);
  useSearchedMessage(chatId, messageId);
  useChatShortcuts(chatId);

  if (chatId !== null && !isLibraryReady.value) return <Loading />;
  const chat = chatId === null ? undefined : chatOf(chatId);
  if (chatId !== null && (!chat || chat.deletedAt !== undefined)) return <NotFound />;
  const settings = chat?.settings ?? draftSettings.value;

  function change(part: Partial<ChatSettings>): void {
    if (chat) void changeSettings(chat.id, part);
    else draftSettings.value = { ...draftSettings.peek(), ...part };
  }

  return (
    <DropZone>
      <div class="chat">
        <ChatHead chat={chat ?? null} settings={settings} onChange={change} />
        <StorageNotice />
        {chat ? <MessageList key={chat.id} chatId={chat.id} messageId={messageId} /> : <Welcome model={settings.model} />}
        <Composer key={chat?.id ?? "new"} chatId={chat?.id ?? null} settings={settings} onChange={change} />
      </div>
    </DropZone>
  );
}

/** A chat without a model takes the newest one. */
function useDefaultModel(chatId: string | null): void {
  const first = models.known.value.value?.[0]?.name ?? "";
  const chosen = draftSettings.value.model;
  const exists = models.known.value.value?.some((each) => each.name === chosen) ?? true;
  useEffect(() => {
    if (chatId === null && first && (!chosen || !exists)) {
      draftSettings.value = { ...draftSettings.peek(), model: first };
    }
  }, [chatId, first, chosen, exists]);
}

/** A search leads to a message: its branch is shown, and the address is the chat's own again. */
function useSearchedMessage(chatId: string | null, messageId: string | null): void {
  const tree = chatId === null ? null : conversationOf(chatId).tree.value;
  useEffect(() => {
    if (chatId === null || messageId === null || !tree) return;
    if (tree.get(messageId)) void conversationOf(chatId).goTo(messageId);
    const timer = setTimeout(() => replace("chat", chatId), 2500);
    return () => clearTimeout(timer);
  }, [chatId, messageId, tree !== null]);
}

function Loading(): VNode {
  return (
    <div class="chat-column chat-loading">
      <Skeleton lines={[40, 100, 92, 60]} />
    </div>
  );
}

function NotFound(): VNode {
  return (
    <Empty
      icon={MessageSquareOff}
      title={t().chat.notFound}
      actions={
        <Button kind="primary" onClick={() => go("chat")}>
          {t().chat.newChat}
        </Button>
      }
    >
      {t().chat.notFoundHint}
    </Empty>
  );
}
