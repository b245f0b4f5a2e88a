import { CircleAlert, CircleCheck, Info, X } from "lucide";
import type { VNode } from "preact";

import { dismiss, toasts } from "../state/toasts";
import { t } from "../texts";
import { Button, IconButton } from "./Button";
import { Icon } from "./Icon";

const ICONS = { good: CircleCheck, bad: CircleAlert, info: Info };

/** Where short messages appear; once, in the shell. */
export function Toasts(): VNode {
  return (
    <div class="toasts" role="region" aria-label={t().shell.toasts} aria-live="polite">
      {toasts.value.map((each) => (
        <div key={each.id} class="toast" data-tone={each.tone} role={each.tone === "bad" ? "alert" : undefined}>
          <Icon of={ICONS[each.tone]} />
          <div>
            <div>{each.text}</div>
            {each.hint && <div class="hint">{each.hint}</div>}
            {each.action && (
              <Button
                size="small"
                onClick={() => {
                  each.action?.run();
                  dismiss(each.id);
                }}
              >
                {each.action.label}
              </Button>
            )}
          </div>
          <IconButton icon={X} size="small" label={t().shell.dismiss} onClick={() => dismiss(each.id)} />
        </div>
      ))}
    </div>
  );
}
