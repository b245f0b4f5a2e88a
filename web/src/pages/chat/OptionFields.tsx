import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { TextArea, TextField } from "../../components/Fields";
import { t } from "../../texts";
import { objectProblem } from "./jsonfields";

type Options = Record<string, unknown>;

const NUMBERS = [
  { name: "temperature", min: 0, max: 5, step: 0.1 },
  { name: "top_p", min: 0, max: 1, step: 0.05 },
  { name: "top_k", min: 0, max: 1000, step: 1 },
  { name: "min_p", min: 0, max: 1, step: 0.01 },
  { name: "repeat_penalty", min: 0, max: 5, step: 0.05 },
  { name: "seed", step: 1 },
  { name: "num_ctx", min: 1, step: 1 },
  { name: "num_predict", min: -2, step: 1 },
] as const;
const NAMED: ReadonlySet<string> = new Set([...NUMBERS.map((each) => each.name), "stop"]);

/** The usual options as fields, all others as JSON. An empty field leaves the option to the model. */
export function OptionFields({ options, onChange }: { options: Options; onChange: (options: Options) => void }): VNode {
  const texts = t().chat;

  function set(name: string, value: unknown): void {
    const { [name]: _old, ...rest } = options;
    onChange(value === undefined ? rest : { ...rest, [name]: value });
  }

  const stops = Array.isArray(options["stop"]) ? options["stop"].map(String) : [];
  return (
    <section class="settings-section">
      <h3>{texts.options}</h3>
      <p class="hint">{texts.optionsHint}</p>
      <div class="option-grid">
        {NUMBERS.map(({ name, ...limits }) => (
          <NumberField
            key={name}
            label={texts.optionNames[name]}
            value={options[name]}
            limits={limits}
            onValue={(value) => set(name, value)}
          />
        ))}
      </div>
      <TextArea
        label={texts.optionNames.stop}
        hint={texts.stopHint}
        rows={2}
        value={stops.join("\n")}
        onText={(text) => {
          const lines = text.split("\n").filter((each) => each !== "");
          set("stop", lines.length > 0 ? lines : undefined);
        }}
      />
      <OtherOptions options={options} onChange={onChange} />
    </section>
  );
}

function NumberField({
  label,
  value,
  limits,
  onValue,
}: {
  label: string;
  value: unknown;
  limits: { min?: number; max?: number; step: number };
  onValue: (value: number | undefined) => void;
}): VNode {
  const [text, setText] = useState(typeof value === "number" ? String(value) : "");
  const number = Number(text);
  const { min, max, step } = limits;
  const isWrong =
    text.trim() !== "" &&
    (!Number.isFinite(number) ||
      (min !== undefined && number < min) ||
      (max !== undefined && number > max) ||
      (step === 1 && !Number.isInteger(number)));
  return (
    <TextField
      label={label}
      type="number"
      dir="ltr"
      value={text}
      min={min}
      max={max}
      step={step === 1 ? 1 : "any"}
      problem={isWrong ? `${min ?? "…"} – ${max ?? "…"}` : undefined}
      onText={(next) => {
        setText(next);
        const parsed = Number(next);
        onValue(next.trim() === "" || !Number.isFinite(parsed) ? undefined : parsed);
      }}
    />
  );
}

function OtherOptions({ options, onChange }: { options: Options; onChange: (options: Options) => void }): VNode {
  const others = Object.fromEntries(Object.entries(options).filter(([name]) => !NAMED.has(name)));
  const [text, setText] = useState(Object.keys(others).length > 0 ? JSON.stringify(others, null, 2) : "");
  return (
    <TextArea
      label={t().chat.moreOptions}
      isCode
      rows={3}
      value={text}
      placeholder={'{"mirostat": 2}'}
      problem={text.trim() ? objectProblem(text) : undefined}
      onText={(next) => {
        setText(next);
        if (next.trim() && objectProblem(next)) return;
        const named = Object.fromEntries(Object.entries(options).filter(([name]) => NAMED.has(name)));
        onChange(next.trim() ? { ...named, ...(JSON.parse(next) as Options) } : named);
      }}
    />
  );
}
