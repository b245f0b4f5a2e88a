import type { VNode } from "preact";
import { useId, useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { TextField } from "../../components/Fields";
import { plainName } from "../../components/Name";
import { messageOf } from "../../services/api/errors";
import { copyModel } from "../../services/api/library";
import { models } from "../../state/server";
import { toast } from "../../state/toasts";
import { t } from "../../texts";

/** Gives a model a second name; the weights are shared. */
export function CopyDialog({ source, onClose }: { source: string; onClose: () => void }): VNode {
  const texts = t().models;
  const [name, setName] = useState("");
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  const form = useId();

  async function copy(): Promise<void> {
    setBusy(true);
    try {
      await copyModel(source, name.trim());
      toast(texts.copied(plainName(source), name.trim()), { tone: "good" });
      void models.refresh();
      onClose();
    } catch (error) {
      setProblem(messageOf(error));
      setBusy(false);
    }
  }

  return (
    <Dialog
      title={texts.copyTitle(plainName(source))}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t().common.cancel}</Button>
          <Button kind="primary" type="submit" form={form} disabled={!name.trim() || isBusy}>
            {t().common.copy}
          </Button>
        </>
      }
    >
      <form
        id={form}
        onSubmit={(event) => {
          event.preventDefault();
          if (name.trim()) void copy();
        }}
      >
        <TextField
          label={texts.newName}
          hint={texts.copyHint}
          problem={problem}
          value={name}
          onText={(text) => (setName(text), setProblem(""))}
          autofocus
        />
      </form>
    </Dialog>
  );
}
