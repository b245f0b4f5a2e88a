import { CircleAlert, CircleCheck, Info, TriangleAlert, type IconNode } from "lucide";
import type { ComponentChildren, VNode } from "preact";

import { ApiError, hintOf, messageOf } from "../services/api/errors";
import { t } from "../texts";
import { Button } from "./Button";
import { Icon } from "./Icon";

/** What a page shows where there is nothing yet: why, and what to do. */
export function Empty({
  icon,
  title,
  children,
  actions,
}: {
  icon: IconNode;
  title: string;
  children?: ComponentChildren;
  actions?: ComponentChildren;
}): VNode {
  return (
    <div class="empty">
      <Icon of={icon} size={36} />
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {actions}
    </div>
  );
}

const ICONS = { info: Info, good: CircleCheck, warn: TriangleAlert, bad: CircleAlert };

export function Notice({
  tone = "info",
  title,
  hint,
  children,
}: {
  tone?: "info" | "good" | "warn" | "bad";
  title: string;
  hint?: ComponentChildren;
  children?: ComponentChildren;
}): VNode {
  return (
    <div class="notice" data-tone={tone} role={tone === "bad" ? "alert" : "status"}>
      <Icon of={ICONS[tone]} />
      <div>
        <span>{title}</span>
        {hint && <span class="hint">{hint}</span>}
        {children && <div class="actions">{children}</div>}
      </div>
    </div>
  );
}

/** An error as the server words it, with its hint and a way to try again. */
export function ErrorNotice({ error, onRetry }: { error: unknown; onRetry?: (() => void) | undefined }): VNode {
  const isOffline = error instanceof ApiError && error.isOffline;
  const title = isOffline ? t().common.offline : messageOf(error) || t().common.failed;
  return (
    <Notice tone="bad" title={title} hint={isOffline ? t().common.offlineHint : hintOf(error)}>
      {onRetry && (
        <Button size="small" onClick={onRetry}>
          {t().common.retry}
        </Button>
      )}
    </Notice>
  );
}

export function Spinner({ label }: { label?: string }): VNode {
  return (
    <>
      <span class="spinner" aria-hidden="true" />
      <span class={label ? "" : "visually-hidden"}>{label ?? t().common.loading}</span>
    </>
  );
}

/** Grey lines in the place of what is being loaded; `lines` gives their widths in percent. */
export function Skeleton({ lines = [92, 100, 64] }: { lines?: readonly number[] }): VNode {
  return (
    <div role="status" class="skeletons">
      <span class="visually-hidden">{t().common.loading}</span>
      {lines.map((width, index) => (
        <div key={index} class="skeleton" style={{ inlineSize: `${width}%`, blockSize: "1rem", marginBlockEnd: "0.75rem" }} />
      ))}
    </div>
  );
}

/** Progress from 0 to 1; null where it is not known. */
export function Bar({ share, label, tone }: { share: number | null; label: string; tone?: "warn" | "bad" }): VNode {
  const percent = share === null ? undefined : Math.round(Math.min(Math.max(share, 0), 1) * 100);
  return (
    <div
      class="bar"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
      data-unknown={percent === undefined || undefined}
      data-tone={tone}
    >
      <span style={percent === undefined ? {} : { inlineSize: `${percent}%` }} />
    </div>
  );
}
