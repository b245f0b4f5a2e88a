import { Wrench } from "lucide";
import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { CopyButton } from "../../components/CopyButton";
import { Icon } from "../../components/Icon";
import { Spinner } from "../../components/States";
import type { KeptCall, Message } from "../../services/chats/types";
import { giveResult } from "../../state/chats/run";
import { sendCall, tools } from "../../state/chats/tools";
import { toastError } from "../../state/toasts";
import { t } from "../../texts";
import { GrowingText } from "./GrowingText";

const TONES = { waiting: "warn", running: "accent", done: "good", failed: "bad" } as const;

/** The calls of an answer with their arguments and results. What waits for a result can be given one. */
export function ToolCalls({ message, isLast }: { message: Message; isLast: boolean }): VNode {
  return (
    <div class="tool-calls">
      {message.calls.map((each, index) => (
        <Call key={index} message={message} index={index} call={each} isOpen={isLast} />
      ))}
    </div>
  );
}

function Call({
  message,
  index,
  call,
  isOpen,
}: {
  message: Message;
  index: number;
  call: KeptCall;
  isOpen: boolean;
}): VNode {
  const texts = t().chat;
  const states = {
    waiting: texts.toolWaiting,
    running: texts.toolRunning,
    done: texts.toolDone,
    failed: texts.toolFailed,
  };
  const args = JSON.stringify(call.arguments, null, 2);
  return (
    <details class="tool-call" open={isOpen && call.state === "waiting"}>
      <summary>
        <Icon of={Wrench} size={16} />
        <span class="tool-name" dir="auto">
          {call.name}
        </span>
        <span class="badge" data-tone={TONES[call.state]}>
          {states[call.state]}
        </span>
      </summary>
      <div class="tool-body">
        <div class="tool-part">
          <h4>{texts.toolArguments}</h4>
          <CopyButton text={args} />
        </div>
        <pre tabIndex={0} dir="ltr">
          {args}
        </pre>
        {call.state === "waiting" ? (
          isOpen && <ResultForm message={message} index={index} call={call} />
        ) : (
          <>
            <div class="tool-part">
              <h4>{texts.toolResult}</h4>
              <CopyButton text={call.result} />
            </div>
            <pre tabIndex={0} dir="auto">
              {call.result}
            </pre>
          </>
        )}
      </div>
    </details>
  );
}

function ResultForm({ message, index, call }: { message: Message; index: number; call: KeptCall }): VNode {
  const texts = t().chat;
  const [text, setText] = useState("");
  const [isAsking, setAsking] = useState(false);
  const tool = tools.value?.find((each) => each.name === call.name);
  const host = tool?.url ? hostOf(tool.url) : "";

  async function ask(): Promise<void> {
    setAsking(true);
    try {
      await giveResult(message, index, await sendCall(message, index));
    } catch (error) {
      toastError(error);
    } finally {
      setAsking(false);
    }
  }

  return (
    <form
      class="edit-form"
      onSubmit={(event) => {
        event.preventDefault();
        void giveResult(message, index, text);
      }}
    >
      <GrowingText value={text} label={texts.toolResult} placeholder={texts.toolResult} onText={setText} />
      <div class="edit-actions">
        <span class="hint">{isAsking ? <Spinner label={texts.toolRunning} /> : texts.toolResultHint}</span>
        {host && (
          <Button size="small" disabled={isAsking} onClick={() => void ask()}>
            {texts.toolAsk(host)}
          </Button>
        )}
        <Button size="small" kind="primary" type="submit" disabled={isAsking}>
          {texts.toolGive}
        </Button>
      </div>
    </form>
  );
}

function hostOf(url: string): string {
  try {
    return new URL(url).host;
  } catch {
    return "";
  }
}
