import type { VNode } from "preact";
import { useId, useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { SelectField, TextField } from "../../components/Fields";
import { bytes } from "../../components/format";
import { Name } from "../../components/Name";
import { Notice } from "../../components/States";
import { models } from "../../state/server";
import { createOfFiles } from "../../state/transfers/creations";
import { t } from "../../texts";
import { modelNameOf } from "./reading";

export const QUANTIZATIONS = ["Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q4_0", "Q3_K_M", "Q2_K"] as const;

/** Asks what a model made of files is to be called, and begins to make it. */
export function UploadDialog({ files, onClose }: { files: readonly File[]; onClose: () => void }): VNode {
  const texts = t().models;
  const [name, setName] = useState(modelNameOf(files[0]?.name ?? ""));
  const [quantize, setQuantize] = useState("");
  const form = useId();
  const full = name.includes(":") ? name.trim() : `${name.trim()}:latest`;
  const isTaken = models.known.value.value?.some((each) => each.name === full) ?? false;

  return (
    <Dialog
      title={texts.uploadTitle}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t().common.cancel}</Button>
          <Button kind="primary" type="submit" form={form} disabled={!name.trim()}>
            {texts.uploadStart}
          </Button>
        </>
      }
    >
      <form
        id={form}
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (!name.trim()) return;
          createOfFiles({ model: name.trim(), files, quantize });
          onClose();
        }}
      >
        <ul role="list" class="file-list">
          {files.map((file) => (
            <li key={file.name}>
              <Name of={file.name} />
              <span class="hint">{bytes(file.size)}</span>
            </li>
          ))}
        </ul>
        <TextField label={texts.newName} value={name} dir="ltr" onText={setName} autofocus />
        {isTaken && <Notice tone="warn" title={texts.nameTaken} />}
        <Quantization value={quantize} onText={setQuantize} />
        <p class="hint">{texts.uploadNote}</p>
      </form>
    </Dialog>
  );
}

export function Quantization({ value, onText }: { value: string; onText: (text: string) => void }): VNode {
  const texts = t().models;
  const options = [["", texts.quantizeNone], ...QUANTIZATIONS.map((each) => [each, each])] as [string, string][];
  return (
    <SelectField label={texts.quantize} hint={texts.quantizeHint} value={value} options={options} onText={onText} />
  );
}
