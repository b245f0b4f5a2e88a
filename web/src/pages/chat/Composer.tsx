import { Brain, Paperclip, SendHorizontal, Square } from "lucide";
import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Button, IconButton } from "../../components/Button";
import { shortName } from "../../components/ModelPicker";
import { Notice } from "../../components/States";
import type { ChatSettings } from "../../services/chats/types";
import { readSession, writeSession } from "../../services/storage/small";
import { send, stopAll } from "../../state/chats/actions";
import { runsOf } from "../../state/chats/run";
import { go } from "../../state/route";
import { t } from "../../texts";
import { Attachments } from "./Attachments";
import { attach, dropped, pendingOf, refusal, setPending, useModelFacts } from "./attaching";
import { GrowingText } from "./GrowingText";
import { wantsComposer } from "./open";

interface Props {
  chatId: string | null;
  settings: ChatSettings;
  onChange: (part: Partial<ChatSettings>) => void;
}

/** Where messages are written. What is typed here draws nothing else again. */
export function Composer({ chatId, settings, onChange }: Props): VNode {
  const texts = t().chat;
  const chat = chatId ?? "new";
  const [text, setText] = useDraft(chat);
  const [readingCount, setReadingCount] = useState(0);
  const picker = useRef<HTMLInputElement>(null);
  const facts = useModelFacts(settings.model);
  const isRunning = chatId !== null && runsOf(chatId).length > 0;
  const pending = pendingOf(chat);
  const problem = refusal(pending, settings.model, facts);
  const isReady = settings.model !== "" && !facts.isGone && !isRunning && problem === "" && readingCount === 0;
  const canSend = isReady && (text.trim() !== "" || pending.length > 0);

  async function take(files: Iterable<File>): Promise<void> {
    setReadingCount((before) => before + 1);
    await attach([...files], chat);
    setReadingCount((before) => before - 1);
  }

  useEffect(() => {
    const files = dropped.value;
    if (files.length === 0) return;
    dropped.value = [];
    void take(files);
  }, [dropped.value]);

  function submit(): void {
    if (!canSend) return;
    const id = send(chatId, text.trim(), pending);
    setText("");
    setPending(chat, []);
    if (chatId === null) go("chat", id);
  }

  return (
    <form
      class="composer chat-column"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      {problem && <Notice tone="warn" title={problem} hint={texts.otherModelOrRemove} />}
      {facts.isGone && <Notice tone="warn" title={texts.modelGone(shortName(settings.model))} />}
      <div class="composer-box">
        {pending.length > 0 && (
          <Attachments
            list={pending.map((each) => each.attachment)}
            blobs={new Map(pending.map((each) => [each.attachment.id, each.blob]))}
            onRemove={(id) => setPending(chat, pending.filter((each) => each.attachment.id !== id))}
          />
        )}
        <GrowingText
          value={text}
          label={texts.placeholder}
          placeholder={settings.model ? texts.placeholderTo(shortName(settings.model)) : texts.placeholder}
          onText={setText}
          focusCount={wantsComposer.value + (matchMedia("(pointer: fine)").matches ? 1 : 0)}
          onPaste={(event) => {
            const files = event.clipboardData?.files;
            if (!files?.length) return;
            event.preventDefault();
            void take(files);
          }}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.altKey || event.isComposing) return;
            event.preventDefault();
            submit();
          }}
        />
        <div class="composer-tools">
          <IconButton icon={Paperclip} label={texts.attach} onClick={() => picker.current?.click()} />
          <input
            ref={picker}
            type="file"
            multiple
            hidden
            aria-label={texts.attach}
            onChange={(event) => {
              void take(event.currentTarget.files ?? []);
              event.currentTarget.value = "";
            }}
          />
          {facts.has("thinking") && <ThinkButton settings={settings} onChange={onChange} />}
          <span class="composer-space" />
          {isRunning ? (
            <IconButton
              icon={Square}
              kind="primary"
              class="composer-send"
              label={texts.stop}
              onClick={() => chatId !== null && stopAll(chatId)}
            />
          ) : (
            <IconButton
              icon={SendHorizontal}
              kind="primary"
              class="composer-send"
              type="submit"
              label={texts.send}
              disabled={!canSend}
            />
          )}
        </div>
      </div>
      <p class="composer-hint">{texts.keys}</p>
    </form>
  );
}

function ThinkButton({ settings, onChange }: Pick<Props, "settings" | "onChange">): VNode {
  const texts = t().chat;
  const isOn = settings.think !== "false";
  return (
    <Button
      kind="quiet"
      size="small"
      icon={Brain}
      class="composer-think"
      aria-pressed={isOn}
      title={texts.thinkHint}
      onClick={() => onChange({ think: isOn ? "false" : "" })}
    >
      {texts.think}
    </Button>
  );
}

/** The text that is being written survives a change of the chat, and a reload. */
function useDraft(key: string): [string, (text: string) => void] {
  const name = `draft-${key}`;
  const [text, setText] = useState(() => readSession(name) ?? "");
  return [
    text,
    (next) => {
      setText(next);
      writeSession(name, next || null);
    },
  ];
}
