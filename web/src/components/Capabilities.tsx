import type { VNode } from "preact";

import type { Capability } from "../services/api/types";
import { t } from "../texts";
import { plainName } from "./Name";

/** The word for what a model can do; one that this page does not know is shown as the server has it. */
export function capabilityName(capability: Capability): string {
  const names: Record<string, string> = t().models.capabilityNames;
  return Object.hasOwn(names, capability) ? (names[capability] ?? capability) : plainName(capability);
}

export function Capabilities({ of }: { of: readonly Capability[] | undefined }): VNode | null {
  if (!of?.length) return null;
  return (
    <span class="badges">
      {of.map((each) => (
        <span key={each} class="badge">
          {capabilityName(each)}
        </span>
      ))}
    </span>
  );
}
