import { Check, Copy } from "lucide";
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import { copyText } from "../services/clipboard";
import { toast } from "../state/toasts";
import { t } from "../texts";
import { IconButton } from "./Button";

const SHOWN_MS = 1600;

/** Copies a text, and shows for a moment that it did. */
export function CopyButton({ text, label }: { text: string | (() => string); label?: string }): VNode {
  const [isDone, setDone] = useState(false);
  useEffect(() => {
    if (!isDone) return;
    const timer = setTimeout(() => setDone(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isDone]);

  async function copy(): Promise<void> {
    if (await copyText(typeof text === "string" ? text : text())) setDone(true);
    else toast(t().common.copyFailed, { tone: "bad" });
  }

  return (
    <IconButton
      icon={isDone ? Check : Copy}
      size="small"
      label={isDone ? t().common.copied : (label ?? t().common.copy)}
      onClick={() => void copy()}
    />
  );
}
