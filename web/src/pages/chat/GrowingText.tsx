import type { VNode } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

interface Props {
  value: string;
  label: string;
  placeholder?: string;
  onText: (text: string) => void;
  onKeyDown?: (event: KeyboardEvent) => void;
  onPaste?: (event: ClipboardEvent) => void;
  isFocused?: boolean;
  /** The focus is taken whenever this changes. */
  focusCount?: number;
}

/** A field that is as high as its text, up to a limit that CSS gives. */
export function GrowingText(props: Props): VNode {
  const element = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    const field = element.current;
    if (!field || CSS.supports("field-sizing", "content")) return;
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight}px`;
  }, [props.value]);
  useLayoutEffect(() => {
    const field = element.current;
    if (!field || (!props.isFocused && !props.focusCount)) return;
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }, [props.focusCount]);
  return (
    <textarea
      ref={element}
      class="growing"
      dir="auto"
      rows={1}
      value={props.value}
      aria-label={props.label}
      placeholder={props.placeholder}
      onInput={(event) => props.onText(event.currentTarget.value)}
      onKeyDown={props.onKeyDown}
      onPaste={props.onPaste}
    />
  );
}
