import type { VNode } from "preact";
import { signal } from "@preact/signals";

import { t } from "../texts";
import { Button } from "./Button";
import { Dialog } from "./Dialog";

interface Question {
  title: string;
  text: string;
  action: string;
  answer: (isAgreed: boolean) => void;
}

const question = signal<Question | null>(null);

/** Asks before something that cannot be undone. `action` is the word on the button that does it. */
export function confirm(title: string, text: string, action: string): Promise<boolean> {
  question.value?.answer(false);
  return new Promise((resolve) => {
    question.value = {
      title,
      text,
      action,
      answer: (isAgreed) => {
        question.value = null;
        resolve(isAgreed);
      },
    };
  });
}

/** Where the question appears; once, in the shell. */
export function ConfirmHost(): VNode | null {
  const current = question.value;
  if (!current) return null;
  return (
    <Dialog
      title={current.title}
      onClose={() => current.answer(false)}
      footer={
        <>
          <Button onClick={() => current.answer(false)}>{t().common.cancel}</Button>
          <Button kind="danger" onClick={() => current.answer(true)} autofocus>
            {current.action}
          </Button>
        </>
      }
    >
      <p>{current.text}</p>
    </Dialog>
  );
}
