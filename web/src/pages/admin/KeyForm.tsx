import type { VNode } from "preact";
import { useId, useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { SelectField, TextArea, TextField } from "../../components/Fields";
import { ErrorNotice } from "../../components/States";
import { createKey, LIMITS, PRIORITIES, SCOPES, type NewKey, type Priority } from "../../services/api/keys";
import { t } from "../../texts";
import { EMPTY, orderOf, type Form } from "./order";

const TIMES = ["", "24h", "7d", "30d", "90d", "365d"] as const;

export function KeyForm({ onClose, onNew }: { onClose: () => void; onNew: (key: NewKey) => void }): VNode {
  const texts = t().admin;
  const [form, setForm] = useState<Form>(EMPTY);
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const id = useId();
  const change = (part: Partial<Form>): void => setForm({ ...form, ...part });
  const isReady = form.name.trim() !== "" && form.scopes.length > 0 && !isBusy;

  async function make(): Promise<void> {
    setBusy(true);
    setError(null);
    try {
      onNew(await createKey(orderOf(form)));
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  }

  return (
    <Dialog
      isWide
      title={texts.newKey}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t().common.cancel}</Button>
          <Button kind="primary" type="submit" form={id} disabled={!isReady}>
            {texts.make}
          </Button>
        </>
      }
    >
      <form
        id={id}
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (isReady) void make();
        }}
      >
        <TextField label={texts.name} hint={texts.nameHint} value={form.name} onText={(name) => change({ name })} autofocus />
        <Scopes chosen={form.scopes} onChange={(scopes) => change({ scopes })} />
        <TextArea
          label={texts.models}
          hint={texts.modelsHint}
          rows={2}
          isCode
          value={form.models}
          onText={(models) => change({ models })}
          disabled={form.scopes.includes("admin")}
          placeholder="qwen3*"
        />
        <SelectField
          label={texts.priority}
          hint={texts.priorityHint}
          value={form.priority}
          options={PRIORITIES.map((each) => [each, texts.priorities[each]] as const)}
          onText={(priority) => change({ priority: priority as Priority })}
        />
        <SelectField
          label={texts.expires}
          value={form.expires}
          options={TIMES.map((each) => [each, texts.lifetimes[each]] as const)}
          onText={(expires) => change({ expires })}
        />
        <fieldset class="key-limits">
          <legend>{texts.limits}</legend>
          <p class="hint">{texts.limitsHint}</p>
          <div>
            {LIMITS.map((each) => (
              <TextField
                key={each}
                label={texts.limitNames[each]}
                type="number"
                min={1}
                step={1}
                value={form.limits[each]}
                onText={(text) => change({ limits: { ...form.limits, [each]: text } })}
              />
            ))}
          </div>
        </fieldset>
        <TextField label={texts.note} value={form.note} onText={(note) => change({ note })} />
        {error !== null && <ErrorNotice error={error} />}
      </form>
    </Dialog>
  );
}

function Scopes({ chosen, onChange }: { chosen: readonly string[]; onChange: (scopes: string[]) => void }): VNode {
  const texts = t().admin;
  return (
    <fieldset class="key-scopes">
      <legend>{texts.scopes}</legend>
      {SCOPES.map((each) => (
        <label key={each}>
          <input
            type="checkbox"
            checked={chosen.includes(each)}
            onChange={(event) =>
              onChange(event.currentTarget.checked ? [...chosen, each] : chosen.filter((other) => other !== each))
            }
          />
          <span>
            <code>{each}</code>
            <span class="hint">{texts.scopeHints[each]}</span>
          </span>
        </label>
      ))}
    </fieldset>
  );
}
