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

export interface ModelFacts {
  has: (capability: Capability) => boolean;
  /** Whether the server has no such model (any more). */
  isGone: boolean;
}

/** What the chosen model can do, as far as the server has said so. */
export function useModelFacts(name: string): ModelFacts {
  const all = models.known.value.value;
  const entry = all?.find((each) => each.name === name || each.name === `${name}:latest`);
  const shown = entry ? detailsOf(entry).known.value.value : null;
  return {
    has: (capability) => shown?.capabilities.includes(capability) ?? false,
    isGone: all !== null && all.length > 0 && name !== "" && !entry,
  };
}

/** The files that can be attached, made ready; of the others the reader is told why not. */
export async function attach(files: readonly File[], model: string, facts: ModelFacts): Promise<Pending[]> {
  const found: Pending[] = [];
  for (const file of files) {
    try {
      const ready = await prepare(file);
      const problem = refusal(ready, model, facts);
      if (problem) toast(problem, { tone: "bad" });
      else found.push(ready);
    } catch (error) {
      toast(wordsOf(error), { tone: "bad" });
    }
  }
  return found;
}

function refusal({ attachment }: Pending, model: string, facts: ModelFacts): string {
  const texts = t().chat;
  if (attachment.kind === "image" && !facts.has("vision")) return texts.noVision(shortName(model));
  if (attachment.kind === "audio" && !facts.has("audio")) return texts.noAudio(shortName(model));
  return "";
}

function wordsOf(error: unknown): string {
  const texts = t().chat;
  if (!(error instanceof FileError)) return t().common.failed;
  const most = error.fileName.match(/\.(?:png|jpe?g|webp|gif|bmp|wav|mp3|flac|ogg|m4a)$/i) ? MOST_MEDIA_BYTES : MOST_TEXT_BYTES;
  if (error.reason === "large") return texts.fileTooLarge(error.fileName, bytes(most));
  return error.reason === "unknown" ? texts.fileUnknown(error.fileName) : texts.fileBroken(error.fileName);
}
