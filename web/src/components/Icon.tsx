import type { IconNode } from "lucide";
import { h, type VNode } from "preact";

/** An icon of lucide. It is decoration: what it means stands beside it, or in the label of its button. */
export function Icon({ of, size = 18 }: { of: IconNode; size?: number }): VNode {
  const children = of.map(([tag, attributes]) => h(tag, attributes));
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="1.75"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      {children}
    </svg>
  );
}
