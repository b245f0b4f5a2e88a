import type { VNode } from "preact";
import { memo } from "../../components/memo";
import { useRef } from "preact/hooks";

import { Markdown } from "../../components/Markdown";
import { shortName } from "../../components/ModelPicker";
import { Notice, Spinner } from "../../components/States";
import type { Message } from "../../services/chats/types";
import { elsewhere } from "../../state/chats/conversation";
import { runs } from "../../state/chats/run";
import { t } from "../../texts";
import { Attachments } from "./Attachments";
import { EditForm } from "./EditForm";
import { MessageTools } from "./MessageTools";
import { useNear } from "./near";
import { editedId } from "./open";
import { LiveFigures } from "./Figures";
import { Thinking } from "./Thinking";
import { ToolCalls } from "./ToolCalls";

// A tab that said it writes an answer, and has not kept anything of it for this long, is gone.
const LOST_AFTER_MS = 15_000;

interface Props {
  message: Message;
  isLast: boolean;
  /** Near the end of a chat that is being opened: drawn at once. */
  isNear: boolean;
}

/** A message. Far from what is seen it is plain text, which the browser does not even lay out. */
export const MessageView = memo(function MessageView({ message, isLast, isNear }: Props): VNode {
  const element = useRef<HTMLElement>(null);
  const isDrawn = useNear(element, isNear);
  const isUser = message.role === "user";
  const name = isUser ? t().chat.you : shortName(message.model) || t().chat.assistant;
  return (
    <article
      ref={element}
      class="message"
      data-role={message.role}
      data-message={message.id}
      data-last={isLast || undefined}
      aria-label={name}
    >
      {!isUser && (
        <header class="message-head" dir="auto">
          <h2>{name}</h2>
          {message.isEdited && <span class="badge">{t().chat.edited}</span>}
        </header>
      )}
      {!isDrawn ? (
        <div class="message-plain" dir="auto">
          {message.content}
        </div>
      ) : editedId.value === message.id ? (
        <EditForm message={message} />
      ) : isUser ? (
        <UserBody message={message} />
      ) : (
        <AnswerBody message={message} isLast={isLast} />
      )}
      {isDrawn && editedId.value !== message.id && <MessageTools message={message} isLast={isLast} />}
    </article>
  );
});

function UserBody({ message }: { message: Message }): VNode {
  return (
    <>
      {message.attachments.length > 0 && <Attachments list={message.attachments} />}
      {message.content && (
        <div class="bubble" dir="auto">
          {message.content}
        </div>
      )}
    </>
  );
}

/** While an answer is being written, only this draws itself again. What was drawn stays when it is complete. */
function AnswerBody({ message, isLast }: { message: Message; isLast: boolean }): VNode {
  const run = runs.value.get(message.id);
  const seen = run?.seen.value;
  const { content, thinking } = seen ?? message;
  const isThinking = seen !== undefined && content === "";
  const thoughtMs = seen === undefined ? message.stats.thinkMs : seen.thoughtAt && seen.thoughtAt - seen.firstAt;
  return (
    <>
      {thinking && <Thinking text={thinking} ms={thoughtMs || null} isGrowing={isThinking} />}
      {content && <Markdown text={content} isGrowing={run !== undefined} />}
      {run && !content && !thinking && (
        <p class="message-note message-waiting">
          <Spinner label={t().chat.waiting} />
        </p>
      )}
      {run ? <LiveFigures run={run} /> : <AnswerEnd message={message} isLast={isLast} />}
    </>
  );
}

function AnswerEnd({ message, isLast }: { message: Message; isLast: boolean }): VNode {
  const texts = t().chat;
  const isElsewhere = message.state === "streaming" && elsewhere.value.has(message.id) && Date.now() - message.savedAt < LOST_AFTER_MS;
  const isLost = message.state === "streaming" && !isElsewhere;
  const isEmpty = !message.content && message.calls.length === 0 && !message.thinking && message.state === "done";
  return (
    <>
      {message.calls.length > 0 && <ToolCalls message={message} isLast={isLast} />}
      {isEmpty && <p class="message-note">{texts.empty}</p>}
      {message.state === "stopped" && <p class="message-note">{texts.stopped}</p>}
      {isElsewhere && <p class="message-note">{texts.elsewhere}</p>}
      {isLost && <p class="message-note">{texts.interrupted}</p>}
      {message.state === "failed" && <Notice tone="bad" title={`${texts.failed}: ${message.error}`} hint={message.hint} />}
      {message.stats.cut ? <Notice tone="warn" title={texts.cut(message.stats.cut)} /> : null}
    </>
  );
}
