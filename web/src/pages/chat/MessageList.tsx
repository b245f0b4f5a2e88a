import { ArrowDown } from "lucide";
import type { VNode } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { IconButton } from "../../components/Button";
import { ErrorNotice, Skeleton } from "../../components/States";
import { conversationOf } from "../../state/chats/conversation";
import { runsOf } from "../../state/chats/run";
import { t } from "../../texts";
import { Chunk, chunksOf } from "./Chunk";

// How far from the end still counts as being at the end.
const NEAR_PX = 48;
// The end of a chat that is shown at once has at least this many messages.
const END_COUNT = 8;

/** The branch of a chat that is shown. It follows the end while the reader is there. */
export function MessageList({ chatId, messageId }: { chatId: string; messageId: string | null }): VNode {
  const conversation = conversationOf(chatId);
  const path = conversation.path.value;
  const box = useRef<HTMLDivElement>(null);
  const [isAtEnd, setAtEnd] = useState(true);
  const isReady = conversation.tree.value !== null;
  useFollowing(box, isAtEnd, setAtEnd, isReady);
  useFound(box, messageId, isReady);
  const last = path.at(-1);
  let before = 0;

  // Whatever the reader sends is shown.
  useEffect(() => {
    if (last?.state === "streaming" || last?.role === "user") setAtEnd(true);
  }, [last?.id]);

  return (
    <div class="chat-scroll" ref={box} tabIndex={0} role="region" aria-label={t().chat.messages}>
      <div class="chat-column" role="log" aria-live="off">
        {conversation.error.value !== null && (
          <ErrorNotice error={conversation.error.value} onRetry={() => void conversation.load()} />
        )}
        {!isReady && conversation.error.value === null && <Skeleton lines={[40, 100, 92, 60]} />}
        {chunksOf(path).map((each, index) => {
          const from = before;
          before += each.length;
          const isWanted = messageId !== null && each.some((message) => message.id === messageId);
          const isNear = isWanted || before > path.length - END_COUNT;
          return <Chunk key={index} messages={each} before={from} isLast={before === path.length} isNear={isNear} />;
        })}
      </div>
      {!isAtEnd && (
        <div class="chat-to-end">
          <IconButton icon={ArrowDown} kind="plain" label={t().chat.toEnd} onClick={() => setAtEnd(true)} />
        </div>
      )}
      <Announcer chatId={chatId} />
    </div>
  );
}

function useFollowing(
  box: { current: HTMLDivElement | null },
  isAtEnd: boolean,
  setAtEnd: (is: boolean) => void,
  isReady: boolean,
): void {
  const following = useRef(true);
  following.current = isAtEnd;
  useLayoutEffect(() => {
    const element = box.current;
    const content = element?.firstElementChild;
    if (!element || !content) return;
    let lastTop = element.scrollTop;
    const toEnd = (): void => {
      if (following.current) element.scrollTop = element.scrollHeight;
    };
    const onScroll = (): void => {
      const distance = element.scrollHeight - element.scrollTop - element.clientHeight;
      // Only scrolling up by the reader ends the following; growth of the content does not.
      if (distance <= NEAR_PX) setAtEnd(true);
      else if (element.scrollTop < lastTop - 2) setAtEnd(false);
      lastTop = element.scrollTop;
    };
    const observer = new ResizeObserver(toEnd);
    observer.observe(content);
    observer.observe(element);
    element.addEventListener("scroll", onScroll, { passive: true });
    toEnd();
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", onScroll);
    };
  }, []);
  useLayoutEffect(() => {
    const element = box.current;
    if (element && isAtEnd) element.scrollTop = element.scrollHeight;
  }, [isAtEnd, isReady]);
}

/** Shows the message that a search found. */
function useFound(box: { current: HTMLDivElement | null }, messageId: string | null, isReady: boolean): void {
  useEffect(() => {
    if (!messageId || !isReady) return;
    const timer = setTimeout(() => {
      const element = box.current?.querySelector(`[data-message="${CSS.escape(messageId)}"]`);
      element?.scrollIntoView({ block: "center" });
    }, 60);
    return () => clearTimeout(timer);
  }, [messageId, isReady]);
}

/** Readers of the screen hear when an answer is complete, not every piece of it. */
function Announcer({ chatId }: { chatId: string }): VNode {
  const isRunning = runsOf(chatId).length > 0;
  const was = useRef(false);
  const [text, setText] = useState("");
  useEffect(() => {
    if (was.current && !isRunning) setText(t().chat.answerDone);
    if (isRunning) setText("");
    was.current = isRunning;
  }, [isRunning]);
  return (
    <span class="visually-hidden" role="status">
      {text}
    </span>
  );
}
