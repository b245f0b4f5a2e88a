import { signal } from "@preact/signals";

import { bytes } from "../../components/format";
import { shortName } from "../../components/ModelPicker";
import type { Capability } from "../../services/api/types";
import { FileError, MOST_MEDIA_BYTES, MOST_TEXT_BYTES, prepare } from "../../services/files";
import type { Pending } from "../../state/chats/actions";
import { detailsOf, models } from "../../state/server";
import { toast } from "../../state/toasts";
import { t } from "../../texts";

/** Files that were dropped on the page and wait for the composer. */
export const dropped = signal<readonly File[]>([]);

/** Files that wait to be sent, by chat. They are kept while the reader looks at another page. */
const waiting = signal<ReadonlyMap<string, readonly Pending[]>>(new Map());

export function pendingOf(chat: string): readonly Pending[] {
  return waiting.value.get(chat) ?? [];
}

export function setPending(chat: string, list: readonly Pending[]): void {
  waiting.value = new Map(waiting.peek()).set(chat, list);
}

export interface ModelFacts {
  has: (capability: Capability) => boolean;
  /** Whether the server has said that the model cannot do this. */
  lacks: (capability: Capability) => boolean;
  /** Whether the server has not said yet what the model can do. */
  isAsked: boolean;
  /** Whether the server has no such model (any more). */
  isGone: boolean;
}

/** What the chosen model can do, as far as the server has said so. */
export function useModelFacts(name: string): ModelFacts {
  const all = models.known.value.value;
  const entry = all?.find((each) => each.name === name || each.name === `${name}:latest`);
  const { value: shown = null, error = null } = entry ? detailsOf(entry).known.value : {};
  return {
    has: (capability) => shown?.capabilities.includes(capability) ?? false,
    lacks: (capability) => shown !== null && !shown.capabilities.includes(capability),
    isAsked: shown === null && error === null,
    isGone: all !== null && all.length > 0 && name !== "" && !entry,
  };
}

/** Makes files ready and attaches them to a chat; of those that cannot be read the reader is told why not. */
export async function attach(files: readonly File[], chat: string): Promise<void> {
  for (const file of files) {
    try {
      const ready = await prepare(file);
      setPending(chat, [...(waiting.peek().get(chat) ?? []), ready]);
    } catch (error) {
      toast(wordsOf(error), { tone: "bad" });
    }
  }
}

/** Whether files may be sent: "" or why the model cannot take one of them; null while that is not known. */
export function refusal(list: readonly Pending[], model: string, facts: ModelFacts): string | null {
  const texts = t().chat;
  const kinds = new Set(list.map((each) => each.attachment.kind));
  if (!kinds.has("image") && !kinds.has("audio")) return "";
  if (facts.isAsked) return null;
  if (kinds.has("image") && facts.lacks("vision")) return texts.noVision(shortName(model));
  if (kinds.has("audio") && facts.lacks("audio")) return texts.noAudio(shortName(model));
  return "";
}

function wordsOf(error: unknown): string {
  const texts = t().chat;
  if (!(error instanceof FileError)) return t().common.failed;
  const most = error.fileName.match(/\.(?:png|jpe?g|webp|gif|bmp|wav|mp3|flac|ogg|m4a)$/i) ? MOST_MEDIA_BYTES : MOST_TEXT_BYTES;
  if (error.reason === "large") return texts.fileTooLarge(error.fileName, bytes(most));
  return error.reason === "unknown" ? texts.fileUnknown(error.fileName) : texts.fileBroken(error.fileName);
}
