import { computed, effect, signal } from "@preact/signals";

import { ownKey } from "../services/api/keys";
import { apiKey } from "./session";

/** The scopes of the key of this tab; null: not known, or there is no key, which on the machine itself may do all. */
const scopes = signal<readonly string[] | null>(null);

effect(() => {
  const key = apiKey.value;
  scopes.value = null;
  if (!key) return;
  ownKey().then(
    (found) => {
      if (apiKey.peek() === key) scopes.value = found.scopes;
    },
    () => undefined,
  );
});

/** False only if the server has said so: what is not known is left to the server's own answer. */
export const mayBeAdmin = computed(() => scopes.value === null || scopes.value.includes("admin"));
