import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { Button } from "../../components/Button";
import type { Message } from "../../services/chats/types";
import { editAnswer, resend } from "../../state/chats/actions";
import { t } from "../../texts";
import { GrowingText } from "./GrowingText";
import { editedId } from "./open";

/** A message as it is being edited. A question is sent again; an answer is changed as it stands. Both make a branch. */
export function EditForm({ message }: { message: Message }): VNode {
  const texts = t().chat;
  const [text, setText] = useState(message.content);
  const isUser = message.role === "user";
  const close = (): void => void (editedId.value = null);

  function done(): void {
    close();
    if (isUser) void resend(message, text.trim());
    else void editAnswer(message, text);
  }

  return (
    <form
      class="edit-form"
      onSubmit={(event) => {
        event.preventDefault();
        done();
      }}
    >
      <GrowingText
        value={text}
        label={texts.editMessage}
        onText={setText}
        isFocused
        onKeyDown={(event) => {
          if (event.key === "Escape") close();
          else if (event.key === "Enter" && (event.ctrlKey || event.metaKey || (isUser && !event.shiftKey)) && !event.isComposing) {
            event.preventDefault();
            done();
          }
        }}
      />
      <div class="edit-actions">
        <Button size="small" onClick={close}>
          {t().common.cancel}
        </Button>
        <Button size="small" kind="primary" type="submit" disabled={!text.trim() && message.attachments.length === 0}>
          {isUser ? texts.sendAgain : texts.saveEdit}
        </Button>
      </div>
    </form>
  );
}
