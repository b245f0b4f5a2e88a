import type { VNode } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

import { Button } from "../../components/Button";
import { t } from "../../texts";
import { lineCount, rangeOfLine } from "./reading";

interface Props {
  value: string;
  onText: (text: string) => void;
  problem: string;
  /** The line that the problem is about, from 1. */
  badLine: number | null;
}

/** A field for a Modelfile with the numbers of its lines; the line of an error is marked, and can be gone to. */
export function ModelfileEditor({ value, onText, problem, badLine }: Props): VNode {
  const texts = t().models;
  const id = useId();
  const area = useRef<HTMLTextAreaElement>(null);
  const numbers = useRef<HTMLOListElement>(null);

  function goToLine(): void {
    const element = area.current;
    if (!element || badLine === null) return;
    element.focus();
    element.setSelectionRange(...rangeOfLine(value, badLine));
    const height = element.scrollHeight / lineCount(value);
    element.scrollTop = Math.max(0, (badLine - 3) * height);
  }
  useEffect(goToLine, [problem, badLine]);

  return (
    <div class="field">
      <label for={id}>{texts.modelfile}</label>
      <div class="modelfile" data-bad={problem ? "" : undefined}>
        <ol ref={numbers} class="modelfile-numbers" aria-hidden="true">
          {Array.from({ length: lineCount(value) }, (_, index) => (
            <li key={index} data-bad={index + 1 === badLine || undefined}>
              {index + 1}
            </li>
          ))}
        </ol>
        <textarea
          ref={area}
          id={id}
          dir="ltr"
          wrap="off"
          rows={12}
          spellcheck={false}
          autocapitalize="off"
          value={value}
          aria-invalid={problem ? "true" : undefined}
          aria-describedby={`${id}-hint${problem ? ` ${id}-problem` : ""}`}
          onInput={(event) => onText(event.currentTarget.value)}
          onScroll={(event) => {
            if (numbers.current) numbers.current.scrollTop = event.currentTarget.scrollTop;
          }}
        />
      </div>
      {problem && (
        <div class="problem modelfile-problem" id={`${id}-problem`} role="alert">
          <span>
            {badLine !== null && <strong>{texts.line(badLine)}: </strong>}
            {problem}
          </span>
          {badLine !== null && (
            <Button size="small" onClick={goToLine}>
              {texts.goToLine(badLine)}
            </Button>
          )}
        </div>
      )}
      <span class="hint" id={`${id}-hint`}>
        {texts.modelfileHint}
      </span>
    </div>
  );
}
