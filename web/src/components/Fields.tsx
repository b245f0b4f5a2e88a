import type { ComponentChildren, JSX, VNode } from "preact";
import { useId } from "preact/hooks";

interface Around {
  label: string;
  hint?: ComponentChildren;
  /** What is wrong with the value; empty if nothing is. */
  problem?: string | undefined;
}

function Frame({ id, label, hint, problem, children }: Around & { id: string; children: ComponentChildren }): VNode {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children}
      {hint && (
        <span class="hint" id={`${id}-hint`}>
          {hint}
        </span>
      )}
      {problem && (
        <span class="problem" id={`${id}-problem`} role="alert">
          {problem}
        </span>
      )}
    </div>
  );
}

function described(id: string, { hint, problem }: Around): Record<string, string | undefined> {
  const names = [problem && `${id}-problem`, hint && `${id}-hint`].filter(Boolean).join(" ");
  return { "aria-describedby": names || undefined, "aria-invalid": problem ? "true" : undefined };
}

interface InputProps extends Around {
  value: string;
  onText: (text: string) => void;
  type?: "text" | "password" | "number" | "search";
  name?: string;
  placeholder?: string;
  dir?: "auto" | "ltr";
  disabled?: boolean;
  autofocus?: boolean;
  min?: number;
  max?: number;
  step?: number | "any";
  onKeyDown?: (event: KeyboardEvent) => void;
  onBlur?: () => void;
}

export function TextField({ label, hint, problem, onText, type = "text", ...rest }: InputProps): VNode {
  const id = useId();
  // A union of types is not one of the element's own: the attributes are the same for all of these.
  const kind = type as "text";
  const around = { label, hint, problem };
  return (
    <Frame id={id} {...around}>
      <input
        class="input"
        type={kind}
        dir="auto"
        spellcheck={false}
        autocomplete="off"
        {...rest}
        {...described(id, around)}
        id={id}
        onInput={(event) => onText(event.currentTarget.value)}
      />
    </Frame>
  );
}

type AreaProps = Around & { onText: (text: string) => void; isCode?: boolean } & Omit<
    JSX.IntrinsicElements["textarea"],
    "label" | "ref"
  >;

export function TextArea({ label, hint, problem, onText, isCode = false, ...rest }: AreaProps): VNode {
  const id = useId();
  const around = { label, hint, problem };
  return (
    <Frame id={id} {...around}>
      <textarea
        class="input"
        dir="auto"
        data-code={isCode || undefined}
        spellcheck={!isCode}
        {...rest}
        {...described(id, around)}
        id={id}
        onInput={(event) => onText(event.currentTarget.value)}
      />
    </Frame>
  );
}

type SelectProps = Around & {
  value: string;
  options: readonly (readonly [value: string, label: string])[];
  onText: (text: string) => void;
  disabled?: boolean;
};

export function SelectField({ label, hint, problem, value, options, onText, disabled }: SelectProps): VNode {
  const id = useId();
  const around = { label, hint, problem };
  return (
    <Frame id={id} {...around}>
      <select
        class="input"
        {...described(id, around)}
        id={id}
        value={value}
        disabled={disabled}
        onChange={(event) => onText(event.currentTarget.value)}
      >
        {options.map(([each, name]) => (
          <option key={each} value={each}>
            {name}
          </option>
        ))}
      </select>
    </Frame>
  );
}

/** A choice of a few, all of them shown. */
export function Choice<T extends string>({
  label,
  value,
  options,
  onChoose,
}: {
  label: string;
  value: T;
  options: readonly (readonly [value: T, label: string])[];
  onChoose: (value: T) => void;
}): VNode {
  return (
    <div class="tabs" role="radiogroup" aria-label={label} onKeyDown={moveChoice}>
      {options.map(([each, name]) => (
        <button
          key={each}
          type="button"
          role="radio"
          aria-checked={each === value}
          tabIndex={each === value ? 0 : -1}
          onClick={() => onChoose(each)}
        >
          {name}
        </button>
      ))}
    </div>
  );
}

function moveChoice(event: KeyboardEvent): void {
  const group = event.currentTarget as HTMLElement;
  const isBackwards = getComputedStyle(group).direction === "rtl" ? "ArrowRight" : "ArrowLeft";
  const step = event.key === "ArrowUp" || event.key === isBackwards ? -1 : event.key.startsWith("Arrow") ? 1 : 0;
  if (!step) return;
  event.preventDefault();
  const buttons = [...group.querySelectorAll("button")];
  const at = buttons.findIndex((each) => each.getAttribute("aria-checked") === "true");
  const next = buttons.at((at + step) % buttons.length);
  next?.focus();
  next?.click();
}

export function Switch({
  label,
  isOn,
  onChange,
  disabled,
}: {
  label: string;
  isOn: boolean;
  onChange: (isOn: boolean) => void;
  disabled?: boolean;
}): VNode {
  return (
    <button
      type="button"
      class="switch"
      role="switch"
      aria-checked={isOn}
      disabled={disabled}
      onClick={() => onChange(!isOn)}
    >
      <span>{label}</span>
      <span />
    </button>
  );
}
