import { Play } from "lucide";
import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { SelectField } from "../../components/Fields";
import { plainName } from "../../components/Name";
import { keepModel } from "../../services/api/operations";
import { models } from "../../state/server";
import { toastError } from "../../state/toasts";
import { t } from "../../texts";
import { now } from "./live";

/** How long a model may be told to stay, as the API has it. Empty: what the server does by itself. */
export const TIMES = ["5m", "30m", "1h", "8h", "24h", "-1"] as const;

export function timeName(time: string): string {
  const names: Record<string, string> = t().running.times;
  return names[time] ?? time;
}

/** The value of `keep_alive` for one of `TIMES`. */
export function keepAlive(time: string): string | number {
  return time === "-1" ? -1 : time;
}

export function LoadForm(): VNode | null {
  const texts = t().running;
  const all = models.known.value.value ?? [];
  const loaded = new Set(now.known.value.value?.models.map((each) => each.name));
  const names = all.map((each) => each.name).filter((name) => !loaded.has(name));
  const [chosen, setChosen] = useState("");
  const [time, setTime] = useState("");
  const [busy, setBusy] = useState("");
  const name = names.includes(chosen) ? chosen : (names[0] ?? "");
  if (!names.length) return null;

  async function load(): Promise<void> {
    const model = all.find((each) => each.name === name);
    if (!model) return;
    setBusy(name);
    try {
      await keepModel(name, keepAlive(time || "5m"), model.capabilities);
    } catch (error) {
      toastError(error);
    }
    setBusy("");
    void now.refresh();
  }

  return (
    <form
      class="card load-form"
      onSubmit={(event) => {
        event.preventDefault();
        void load();
      }}
    >
      <SelectField
        label={texts.loadLabel}
        value={name}
        options={names.map((each) => [each, plainName(each)] as const)}
        onText={setChosen}
      />
      <SelectField
        label={texts.keepLabel}
        value={time || "5m"}
        options={TIMES.map((each) => [each, timeName(each)] as const)}
        onText={setTime}
      />
      <Button kind="primary" icon={Play} type="submit" disabled={busy !== ""}>
        {busy ? texts.loading : texts.load}
      </Button>
    </form>
  );
}
