import type { VNode } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { TextField } from "../../components/Fields";
import { plainName } from "../../components/Name";
import { Spinner } from "../../components/States";
import { hintOf, isAbort, messageOf } from "../../services/api/errors";
import { create, type CreateOrder } from "../../services/api/library";
import { models } from "../../state/server";
import { toast } from "../../state/toasts";
import { t } from "../../texts";
import { ModelfileEditor } from "./ModelfileEditor";
import { lineOfError, withoutLine } from "./reading";
import { Quantization } from "./UploadDialog";

interface Problem {
  text: string;
  line: number | null;
}

/** Makes a model of a Modelfile; errors are shown at their line. */
export function CreateDialog({ start, onClose }: { start: string; onClose: () => void }): VNode {
  const texts = t().models;
  const [name, setName] = useState("");
  const [modelfile, setModelfile] = useState(start);
  const [quantize, setQuantize] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [status, setStatus] = useState("");
  const running = useRef<AbortController | null>(null);
  const form = useId();
  const isBusy = status !== "";
  useEffect(() => () => running.current?.abort(), []);

  async function make(): Promise<void> {
    const controller = (running.current = new AbortController());
    const order: CreateOrder = { model: name.trim(), modelfile, ...(quantize && { quantize }) };
    setProblem(null);
    setStatus(t().common.loading);
    try {
      for await (const progress of create(order, controller.signal)) setStatus(plainName(progress.status));
      toast(texts.created(name.trim()), { tone: "good" });
      void models.refresh();
      onClose();
    } catch (error) {
      setStatus("");
      if (isAbort(error)) return;
      const text = [messageOf(error), hintOf(error)].filter(Boolean).join(". ");
      setProblem({ text: plainName(withoutLine(text)), line: lineOfError(text) });
    }
  }

  return (
    <Dialog
      isWide
      title={texts.createTitle}
      onClose={onClose}
      footer={
        <>
          {isBusy && (
            <span class="dialog-status" role="status">
              <Spinner label={status} />
            </span>
          )}
          <Button onClick={onClose}>{t().common.cancel}</Button>
          <Button kind="primary" type="submit" form={form} disabled={!name.trim() || !modelfile.trim() || isBusy}>
            {texts.create}
          </Button>
        </>
      }
    >
      <form
        id={form}
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void make();
        }}
      >
        <TextField label={texts.newName} value={name} dir="ltr" onText={setName} autofocus />
        <ModelfileEditor
          value={modelfile}
          onText={(text) => (setModelfile(text), setProblem(null))}
          problem={problem?.text ?? ""}
          badLine={problem?.line ?? null}
        />
        <Quantization value={quantize} onText={setQuantize} />
      </form>
    </Dialog>
  );
}
