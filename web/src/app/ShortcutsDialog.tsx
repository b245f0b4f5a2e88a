import type { VNode } from "preact";

import { Dialog } from "../components/Dialog";
import { isApple, shortcuts, type Shortcut } from "../state/shortcuts";
import { t } from "../texts";

export function ShortcutsDialog({ onClose }: { onClose: () => void }): VNode {
  const texts = t();
  const groups = (["general", "chat"] as const).map((group) => ({
    group,
    list: shortcuts.value.filter((each) => each.group === group),
  }));
  return (
    <Dialog title={texts.shortcuts.title} onClose={onClose}>
      {groups.map(
        ({ group, list }) =>
          list.length > 0 && (
            <section key={group} class="shortcuts">
              <h3>{texts.shortcuts[group]}</h3>
              <ul role="list">
                {list.map((each) => (
                  <li key={each.keys}>
                    <span>{each.label(texts)}</span>
                    <Keys of={each} />
                  </li>
                ))}
              </ul>
            </section>
          ),
      )}
    </Dialog>
  );
}

const NAMES: Record<string, string> = {
  mod: isApple ? "⌘" : "Ctrl",
  shift: isApple ? "⇧" : "Shift",
  alt: isApple ? "⌥" : "Alt",
  ArrowUp: "↑",
  ArrowDown: "↓",
  Escape: "Esc",
};

function Keys({ of }: { of: Shortcut }): VNode {
  return (
    <span class="shortcut-keys" dir="ltr">
      {of.keys.split(" ").flatMap((part) => part.split("+").map((key) => <kbd key={`${part}${key}`}>{NAMES[key] ?? key.toUpperCase()}</kbd>))}
    </span>
  );
}
