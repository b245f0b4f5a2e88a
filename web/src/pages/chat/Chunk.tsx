import type { VNode } from "preact";
import { useRef } from "preact/hooks";

import type { Message } from "../../services/chats/types";
import { t } from "../../texts";
import { MessageView } from "./MessageView";
import { useNear } from "./near";

const CHUNK_COUNT = 50;
// These are drawn at once when a chat is opened.
const FIRST_COUNT = 4;
// About what a message takes, until its chunk was seen.
const MESSAGE_REM = 8;

/** A branch in parts that stay the same while it grows. */
export function chunksOf(path: readonly Message[]): Message[][] {
  const count = Math.ceil(path.length / CHUNK_COUNT);
  return Array.from({ length: count }, (_, at) => path.slice(at * CHUNK_COUNT, (at + 1) * CHUNK_COUNT));
}

interface Props {
  messages: readonly Message[];
  /** How many messages are before these. */
  before: number;
  isLast: boolean;
  /** Near the end of a chat that is being opened, or looked for: drawn at once. */
  isNear: boolean;
}

/** Some messages. Far from what is seen they are one text, which costs nothing and which the browser's search finds. */
export function Chunk({ messages, before, isLast, isNear }: Props): VNode {
  const element = useRef<HTMLDivElement>(null);
  const isShown = useNear(element, isNear);
  if (!isShown) {
    return (
      <div
        ref={element}
        class="chunk-far message-plain"
        role="group"
        aria-label={t().chat.messagesFromTo(before + 1, before + messages.length)}
        dir="auto"
        style={{ containIntrinsicBlockSize: `auto ${messages.length * MESSAGE_REM}rem` }}
      >
        {messages.map((each) => each.content).join("\n\n")}
      </div>
    );
  }
  return (
    <div class="chunk">
      {messages.map((each, index) => (
        <MessageView
          key={each.id}
          message={each}
          isLast={isLast && index === messages.length - 1}
          isNear={isLast && index >= messages.length - FIRST_COUNT}
        />
      ))}
    </div>
  );
}
