import { ChevronLeft, ChevronRight, Ellipsis, Pencil, RefreshCw, Shuffle, Trash2 } from "lucide";
import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { IconButton } from "../../components/Button";
import { confirm } from "../../components/Confirm";
import { CopyButton } from "../../components/CopyButton";
import { Dialog } from "../../components/Dialog";
import { Menu, type MenuItem } from "../../components/Menu";
import { ModelPicker } from "../../components/ModelPicker";
import type { Message } from "../../services/chats/types";
import { regenerate } from "../../state/chats/actions";
import { conversationOf } from "../../state/chats/conversation";
import { runs } from "../../state/chats/run";
import { t } from "../../texts";
import { Figures } from "./Figures";
import { editedId } from "./open";

export function MessageTools({ message, isLast }: { message: Message; isLast: boolean }): VNode | null {
  const texts = t().chat;
  const [isChoosing, setChoosing] = useState(false);
  if (runs.value.has(message.id)) return null;
  const isAnswer = message.role === "assistant";
  const items: MenuItem[] = [
    ...(isAnswer
      ? [
          { label: texts.editMessage, icon: Pencil, run: () => (editedId.value = message.id) },
          { label: texts.regenerateWith, icon: Shuffle, run: () => setChoosing(true) },
        ]
      : []),
    { label: texts.deleteFrom, icon: Trash2, tone: "bad" as const, run: () => void remove(message) },
  ];
  return (
    <div class="message-tools" data-shown={isLast || undefined}>
      <Branches message={message} />
      {message.content && <CopyButton text={message.content} label={texts.copyAnswer} />}
      {isAnswer ? (
        <IconButton icon={RefreshCw} size="small" label={texts.regenerate} onClick={() => void regenerate(message)} />
      ) : (
        <IconButton icon={Pencil} size="small" label={texts.editMessage} onClick={() => (editedId.value = message.id)} />
      )}
      <Menu
        items={items}
        button={(props) => <IconButton icon={Ellipsis} size="small" label={texts.messageMenu} {...props} />}
      />
      {isAnswer && <Figures message={message} />}
      {isChoosing && (
        <Dialog title={texts.chooseModel} onClose={() => setChoosing(false)}>
          <ModelPicker
            isPlain
            value={message.model}
            onChoose={(model) => {
              setChoosing(false);
              void regenerate(message, model);
            }}
          />
        </Dialog>
      )}
    </div>
  );
}

async function remove(message: Message): Promise<void> {
  const texts = t().chat;
  if (await confirm(texts.deleteFrom, texts.deleteFromText, t().common.delete)) {
    await conversationOf(message.chatId).remove(message);
  }
}

/** Which of several messages in the same place is shown. */
function Branches({ message }: { message: Message }): VNode | null {
  const conversation = conversationOf(message.chatId);
  const siblings = conversation.tree.value?.siblings(message) ?? [];
  if (siblings.length < 2) return null;
  const texts = t().chat;
  const at = siblings.findIndex((each) => each.id === message.id);
  const show = (index: number): void => {
    const target = siblings[index];
    if (target) void conversation.goTo(target.id);
  };
  return (
    <span class="branches" role="group" aria-label={texts.branch(at + 1, siblings.length)}>
      <IconButton
        icon={ChevronLeft}
        size="small"
        label={texts.previousBranch}
        disabled={at === 0}
        onClick={() => show(at - 1)}
      />
      <span aria-hidden="true">
        {at + 1}/{siblings.length}
      </span>
      <IconButton
        icon={ChevronRight}
        size="small"
        label={texts.nextBranch}
        disabled={at === siblings.length - 1}
        onClick={() => show(at + 1)}
      />
    </span>
  );
}
