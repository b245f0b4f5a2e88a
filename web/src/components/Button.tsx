import type { IconNode } from "lucide";
import type { ComponentChildren, JSX, Ref, VNode } from "preact";

import { Icon } from "./Icon";

interface Common extends Omit<JSX.IntrinsicElements["button"], "size" | "icon" | "ref" | "class"> {
  kind?: "primary" | "plain" | "quiet" | "danger";
  size?: "small" | "normal";
  class?: string;
  ref?: Ref<HTMLButtonElement> | undefined;
}

interface ButtonProps extends Common {
  icon?: IconNode;
  children?: ComponentChildren;
}

export function Button({ kind = "plain", size = "normal", icon, children, class: name = "", ...rest }: ButtonProps): VNode {
  return (
    <button type="button" {...rest} class={`button ${name}`} data-kind={kind} data-size={size}>
      {icon && <Icon of={icon} size={size === "small" ? 16 : 18} />}
      {children}
    </button>
  );
}

interface IconButtonProps extends Common {
  icon: IconNode;
  label: string;
}

/** A button that shows an icon alone; `label` is its name, and its tooltip. */
export function IconButton({
  icon,
  label,
  kind = "quiet",
  size = "normal",
  class: name = "",
  ...rest
}: IconButtonProps): VNode {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      {...rest}
      class={`button ${name}`}
      data-kind={kind}
      data-size={size}
      data-icon
    >
      <Icon of={icon} size={size === "small" ? 16 : 18} />
    </button>
  );
}
