import { Boxes } from "lucide";
import type { VNode } from "preact";

import { Button } from "../../components/Button";
import { CopyButton } from "../../components/CopyButton";
import { shortName } from "../../components/ModelPicker";
import { Empty, ErrorNotice, Skeleton } from "../../components/States";
import { link } from "../../state/route";
import { models } from "../../state/server";
import { t } from "../../texts";

/** What stands in a chat before its first message. */
export function Welcome({ model }: { model: string }): VNode {
  const texts = t().chat;
  const { value, error } = models.known.value;
  if (value === null) {
    return (
      <div class="chat-welcome">
        {error === null ? <Skeleton lines={[30, 55]} /> : <ErrorNotice error={error} onRetry={() => void models.refresh()} />}
      </div>
    );
  }
  if (value.length === 0) {
    return (
      <div class="chat-welcome">
        <Empty
          icon={Boxes}
          title={texts.noModels}
          actions={
            <>
              <div class="chat-command">
                <code>{texts.noModelsExample}</code>
                <CopyButton text={texts.noModelsExample} />
              </div>
              <div class="chat-welcome-actions">
                <a class="button" data-kind="primary" href={link("models")}>
                  {texts.toModels}
                </a>
                <Button onClick={() => void models.refresh()}>{texts.checkAgain}</Button>
              </div>
            </>
          }
        >
          {texts.noModelsHint}
        </Empty>
      </div>
    );
  }
  return (
    <div class="chat-welcome">
      <h1>{texts.greeting}</h1>
      {model && <p>{texts.greetingHint(shortName(model))}</p>}
    </div>
  );
}
