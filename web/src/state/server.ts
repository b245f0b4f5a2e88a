import { computed } from "@preact/signals";

import { listModels, showModel, version } from "../services/api/native";
import type { ModelEntry, ShownModel } from "../services/api/types";
import { resource, type Resource } from "./resource";

/** The version of the server; asked now and then, which shows whether it is there. */
export const serverVersion = resource(() => version());

export const connection = computed<"connecting" | "connected" | "offline">(() => {
  const { value, error } = serverVersion.known.value;
  if (error) return "offline";
  return value ? "connected" : "connecting";
});

/** All models, newest first. Whoever changes models calls `models.refresh()`. */
export const models = resource(async () => {
  const found = await listModels();
  return found.sort((one, other) => other.modified_at.localeCompare(one.modified_at));
});

const details = new Map<string, Resource<ShownModel>>();

/** What `/api/show` says of a model: asked once for each digest. */
export function detailsOf(model: ModelEntry): Resource<ShownModel> {
  const key = `${model.name} ${model.digest}`;
  let found = details.get(key);
  if (!found) {
    found = resource(() => showModel(model.name));
    details.set(key, found);
    void found.refresh();
  }
  return found;
}
