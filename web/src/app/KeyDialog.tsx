import { Eye, EyeOff } from "lucide";
import type { VNode } from "preact";
import { useId, useState } from "preact/hooks";

import { Button, IconButton } from "../components/Button";
import { Dialog } from "../components/Dialog";
import { TextField } from "../components/Fields";
import { Notice } from "../components/States";
import { declineKey, enterKey, type KeyQuestion } from "../state/session";
import { t } from "../texts";

export function KeyDialog({ question }: { question: KeyQuestion }): VNode {
  const texts = t().keyDialog;
  const [text, setText] = useState("");
  const [isShown, setShown] = useState(false);
  const form = useId();

  return (
    <Dialog
      title={texts.title}
      onClose={declineKey}
      footer={
        <>
          <Button onClick={declineKey}>{t().common.cancel}</Button>
          <Button kind="primary" type="submit" form={form} disabled={!text.trim()}>
            {texts.submit}
          </Button>
        </>
      }
    >
      <form
        id={form}
        class="key-form"
        onSubmit={(event) => {
          event.preventDefault();
          if (text.trim()) enterKey(text);
        }}
      >
        {question === "needed" && <Notice title={texts.needed} />}
        {question === "refused" && <Notice tone="bad" title={texts.refused} />}
        <div class="key-row">
          <TextField
            label={texts.label}
            hint={texts.hint}
            type={isShown ? "text" : "password"}
            name="api-key"
            dir="ltr"
            value={text}
            onText={setText}
            autofocus
          />
          <IconButton
            icon={isShown ? EyeOff : Eye}
            label={isShown ? texts.hide : texts.show}
            onClick={() => setShown(!isShown)}
          />
        </div>
        <p class="key-make">
          {texts.make} <code>corral key create NAME</code>
        </p>
      </form>
    </Dialog>
  );
}
