import type { VNode } from "preact";

/** The mark: a piece of fence. */
export function Brand(): VNode {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" fill="var(--accent)" />
      <path
        d="M9 8v17M23 8v17M5.5 13h21M5.5 20h21"
        fill="none"
        stroke="var(--ink-on-accent)"
        stroke-width="2.4"
        stroke-linecap="round"
      />
    </svg>
  );
}
