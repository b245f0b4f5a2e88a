import type { VNode } from "preact";
import { useId, useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { TextField } from "../../components/Fields";
import { changeChat, folders } from "../../state/chats/library";
import { t } from "../../texts";
import { renamed } from "./open";

/** Gives a chat another title, or puts it into a folder. */
export function RenameDialog(): VNode | null {
  const asked = renamed.value;
  return asked ? <Form key={`${asked.chat.id}${asked.field}`} {...asked} /> : null;
}

function Form({ chat, field }: NonNullable<typeof renamed.value>): VNode {
  const texts = t();
  const [text, setText] = useState(chat[field]);
  const form = useId();
  const isTitle = field === "title";
  const close = (): void => void (renamed.value = null);
  return (
    <Dialog
      title={isTitle ? texts.common.rename : texts.chat.folder}
      onClose={close}
      footer={
        <>
          <Button onClick={close}>{texts.common.cancel}</Button>
          <Button kind="primary" type="submit" form={form} disabled={isTitle && !text.trim()}>
            {texts.common.save}
          </Button>
        </>
      }
    >
      <form
        id={form}
        class="rename-form"
        onSubmit={(event) => {
          event.preventDefault();
          void changeChat(chat.id, { [field]: text.trim() });
          close();
        }}
      >
        <TextField
          label={isTitle ? texts.chat.titleLabel : texts.chat.folder}
          hint={isTitle ? undefined : texts.chat.folderHint}
          value={text}
          onText={setText}
          autofocus
        />
        {!isTitle && folders.value.length > 0 && (
          <div class="folder-choices">
            {folders.value.map((each) => (
              <Button key={each} size="small" onClick={() => setText(each)}>
                {each}
              </Button>
            ))}
          </div>
        )}
      </form>
    </Dialog>
  );
}
