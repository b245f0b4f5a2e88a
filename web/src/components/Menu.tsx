import type { IconNode } from "lucide";
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Icon } from "./Icon";

export type MenuItem =
  | { label: string; icon?: IconNode; run: () => void; tone?: "bad"; isChecked?: boolean }
  | "line";

interface Props {
  /** The button: it gets what it needs to open the menu. */
  button: (props: ButtonProps) => ComponentChildren;
  items: MenuItem[];
}

interface ButtonProps {
  onClick: (event: MouseEvent) => void;
  "aria-haspopup": "menu";
  "aria-expanded": boolean;
}

/** A menu that opens below a button, or above it where there is no room. Arrows move, Escape closes. */
export function Menu({ button, items }: Props): VNode {
  const [opener, setOpener] = useState<HTMLElement | null>(null);
  const close = (): void => {
    opener?.focus();
    setOpener(null);
  };
  const onClick = (event: MouseEvent): void => setOpener(opener ? null : (event.currentTarget as HTMLElement));
  return (
    <>
      {button({ onClick, "aria-haspopup": "menu", "aria-expanded": opener !== null })}
      {opener && <MenuBox opener={opener} items={items} onClose={close} />}
    </>
  );
}

function MenuBox({ opener, items, onClose }: { opener: HTMLElement; items: MenuItem[]; onClose: () => void }): VNode {
  const box = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    element.showPopover();
    place(element, opener);
    element.querySelector("button")?.focus();
    const onToggle = (event: Event): void => {
      if ((event as ToggleEvent).newState === "closed") onClose();
    };
    element.addEventListener("toggle", onToggle);
    addEventListener("resize", onClose);
    return () => {
      element.removeEventListener("toggle", onToggle);
      removeEventListener("resize", onClose);
    };
  }, []);

  return (
    <div ref={box} class="menu" role="menu" popover="auto" onKeyDown={(event) => move(event)}>
      {items.map((item, index) =>
        item === "line" ? (
          <hr key={index} />
        ) : (
          <button
            key={index}
            type="button"
            role={item.isChecked === undefined ? "menuitem" : "menuitemcheckbox"}
            aria-checked={item.isChecked}
            data-tone={item.tone}
            tabIndex={-1}
            onClick={() => {
              onClose();
              item.run();
            }}
          >
            {item.icon && <Icon of={item.icon} size={16} />}
            {item.label}
          </button>
        ),
      )}
    </div>
  );
}

function move(event: KeyboardEvent): void {
  const box = event.currentTarget as HTMLElement;
  const buttons = [...box.querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  buttons.at(next % buttons.length)?.focus();
}

function place(element: HTMLElement, opener: HTMLElement): void {
  const gap = 4;
  const at = opener.getBoundingClientRect();
  const size = element.getBoundingClientRect();
  const isRightToLeft = getComputedStyle(opener).direction === "rtl";
  const wanted = isRightToLeft || at.left + size.width > innerWidth - gap ? at.right - size.width : at.left;
  const below = at.bottom + gap;
  const top = below + size.height > innerHeight - gap ? Math.max(gap, at.top - gap - size.height) : below;
  element.style.left = `${Math.max(gap, Math.min(wanted, innerWidth - size.width - gap))}px`;
  element.style.top = `${top}px`;
}
