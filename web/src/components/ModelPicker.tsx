import { Check, ChevronDown } from "lucide";
import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { ModelEntry } from "../services/api/types";
import { models } from "../state/server";
import { t } from "../texts";
import { bytes } from "./format";
import { Icon } from "./Icon";
import { ErrorNotice, Skeleton } from "./States";
import "./modelpicker.css";

interface Props {
  value: string;
  onChoose: (model: string) => void;
  label?: string;
  isPlain?: boolean;
}

/** A button with the model's name that opens a list of all models, with a filter. */
export function ModelPicker({ value, onChoose, label, isPlain = false }: Props): VNode {
  const [isOpen, setOpen] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  const texts = t().chat;
  return (
    <>
      <button
        ref={opener}
        type="button"
        class="picker-button"
        data-plain={isPlain || undefined}
        aria-haspopup="listbox"
        aria-expanded={isOpen}
        aria-label={`${label ?? texts.model}: ${value || texts.chooseModel}`}
        onClick={() => {
          void models.refresh();
          setOpen(!isOpen);
        }}
      >
        <span dir="auto">{value ? shortName(value) : texts.chooseModel}</span>
        <Icon of={ChevronDown} size={16} />
      </button>
      {isOpen && opener.current && (
        <Box
          opener={opener.current}
          value={value}
          onClose={() => {
            setOpen(false);
            opener.current?.focus();
          }}
          onChoose={onChoose}
        />
      )}
    </>
  );
}

export function shortName(name: string): string {
  return name.replace(/:latest$/, "");
}

function Box({
  opener,
  value,
  onClose,
  onChoose,
}: {
  opener: HTMLElement;
  value: string;
  onClose: () => void;
  onChoose: (model: string) => void;
}): VNode {
  const texts = t().chat;
  const box = useRef<HTMLDivElement>(null);
  const [filter, setFilter] = useState("");
  const { value: all, error } = models.known.value;
  const found = (all ?? []).filter((each) => each.name.toLowerCase().includes(filter.trim().toLowerCase()));

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    element.showPopover();
    const at = opener.getBoundingClientRect();
    const width = element.offsetWidth;
    element.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
    element.style.top = `${at.bottom + 4}px`;
    element.style.maxHeight = `${Math.max(200, innerHeight - at.bottom - 20)}px`;
    element.querySelector("input")?.focus();
    const onToggle = (event: Event): void => {
      if ((event as ToggleEvent).newState === "closed") onClose();
    };
    element.addEventListener("toggle", onToggle);
    return () => element.removeEventListener("toggle", onToggle);
  }, []);

  function choose(model: ModelEntry): void {
    onChoose(model.name);
    onClose();
  }

  return (
    <div ref={box} class="picker" popover="auto" onKeyDown={move}>
      <input
        class="input"
        type="search"
        placeholder={texts.filterModels}
        aria-label={texts.filterModels}
        value={filter}
        onInput={(event) => setFilter(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && found[0]) choose(found[0]);
        }}
      />
      {error !== null && <ErrorNotice error={error} onRetry={() => void models.refresh()} />}
      {all === null && error === null && <Skeleton />}
      <div role="listbox" aria-label={texts.model} class="picker-list">
        {found.map((each) => (
          <button
            key={each.name}
            type="button"
            role="option"
            aria-selected={each.name === value}
            onClick={() => choose(each)}
          >
            <span class="picker-name" dir="auto">
              {shortName(each.name)}
            </span>
            <span class="picker-facts">
              {[each.details.parameter_size, each.details.quantization_level, bytes(each.size)].filter(Boolean).join(" · ")}
            </span>
            {each.name === value && <Icon of={Check} size={16} />}
          </button>
        ))}
      </div>
      {all !== null && found.length === 0 && <p class="picker-none">{all.length ? texts.noSuchModel : texts.noModels}</p>}
    </div>
  );
}

function move(event: KeyboardEvent): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const box = event.currentTarget as HTMLElement;
  const stops = [...box.querySelectorAll<HTMLElement>("input, [role=option]")];
  const at = stops.indexOf(document.activeElement as HTMLElement);
  stops.at((at + step) % stops.length)?.focus();
}
