import { Ban, Ellipsis, KeyRound, Plus, RotateCw } from "lucide";
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Button, IconButton } from "../../components/Button";
import { confirm } from "../../components/Confirm";
import { Switch } from "../../components/Fields";
import { dateTime, integer, relative } from "../../components/format";
import { Menu } from "../../components/Menu";
import { Name, plainName } from "../../components/Name";
import { Empty, ErrorNotice, Notice, Skeleton } from "../../components/States";
import { ApiError } from "../../services/api/errors";
import { LIMITS, listKeys, revokeKey, type ApiKey, type NewKey } from "../../services/api/keys";
import { resource } from "../../state/resource";
import { apiKey, keyQuestion } from "../../state/session";
import { toast, toastError } from "../../state/toasts";
import { t } from "../../texts";
import { KeyForm } from "./KeyForm";
import { NewKeyDialog, RotateDialog } from "./KeyDialogs";

const LOOK_EVERY_MS = 15_000;

export const keys = resource(listKeys);

type Open = { kind: "form" } | { kind: "rotate"; key: ApiKey } | { kind: "new"; key: NewKey };

export function KeysPart(): VNode {
  const texts = t().admin;
  const { value, error } = keys.known.value;
  const [open, setOpen] = useState<Open | null>(null);
  const [showsOld, setShowsOld] = useState(false);
  useEffect(() => keys.poll(LOOK_EVERY_MS), []);
  const shown = value?.filter((each) => showsOld || each.status === "active") ?? [];
  const oldCount = value?.filter((each) => each.status !== "active").length ?? 0;
  const onNew = (key: NewKey): void => {
    setOpen({ kind: "new", key });
    void keys.refresh();
  };

  // Browsers may change keys only with one of the scope admin, also on the machine itself.
  const canChange = apiKey.value !== "";
  if (error instanceof ApiError && (error.status === 403 || error.status === 404)) return <Refused error={error} />;
  return (
    <div class="stack">
      <div class="keys-head">
        <Button icon={Plus} kind="primary" disabled={!canChange} onClick={() => setOpen({ kind: "form" })}>
          {texts.newKey}
        </Button>
        {oldCount > 0 && (
          <div class="keys-old">
            <Switch label={texts.showOld(oldCount)} isOn={showsOld} onChange={setShowsOld} />
          </div>
        )}
      </div>
      {!canChange && (
        <Notice title={texts.needsKey} hint={<FirstKey />}>
          <Button size="small" onClick={() => (keyQuestion.value = "wanted")}>
            {t().settings.keyEnter}
          </Button>
        </Notice>
      )}
      {error !== null && <ErrorNotice error={error} onRetry={() => void keys.refresh()} />}
      {value ? (
        shown.length ? (
          <KeyTable list={shown} canChange={canChange} onRotate={(key) => setOpen({ kind: "rotate", key })} />
        ) : (
          <div class="card">
            <Empty icon={KeyRound} title={texts.noKeys}>
              {texts.noKeysHint}
            </Empty>
          </div>
        )
      ) : (
        error === null && <Skeleton lines={[100, 100, 100]} />
      )}
      {open?.kind === "form" && <KeyForm onClose={() => setOpen(null)} onNew={onNew} />}
      {open?.kind === "rotate" && <RotateDialog of={open.key} onClose={() => setOpen(null)} onNew={onNew} />}
      {open?.kind === "new" && <NewKeyDialog of={open.key} onClose={() => setOpen(null)} />}
    </div>
  );
}

function FirstKey(): VNode {
  return (
    <>
      {t().admin.needsKeyHint} <code>corral key create admin --scope admin</code>
    </>
  );
}

function Refused({ error }: { error: ApiError }): VNode {
  const texts = t().admin;
  const isOff = error.status === 404;
  return (
    <div class="card">
      <Empty
        icon={KeyRound}
        title={isOff ? texts.keysOff : texts.notAdmin}
        actions={!isOff && <Button onClick={() => (keyQuestion.value = "wanted")}>{texts.otherKey}</Button>}
      >
        {isOff ? texts.keysOffHint : plainName([error.message, error.hint].filter(Boolean).join(". "))}
      </Empty>
    </div>
  );
}

interface TableProps {
  list: readonly ApiKey[];
  canChange: boolean;
  onRotate: (key: ApiKey) => void;
}

function KeyTable({ list, canChange, onRotate }: TableProps): VNode {
  return (
    <ul role="list" class="card keys" aria-label={t().admin.keys}>
      {list.map((each) => (
        <KeyRow key={each.id} of={each} canChange={canChange} onRotate={onRotate} />
      ))}
    </ul>
  );
}

function KeyRow({ of, canChange, onRotate }: { of: ApiKey } & Omit<TableProps, "list">): VNode {
  const texts = t().admin;
  const tones = { active: "good", expired: "warn", revoked: "bad" };
  return (
    <li>
      <div class="key-name">
        <div>
          <strong>
            <Name of={of.name} />
          </strong>
          <span class="badge" data-tone={tones[of.status]}>
            {texts.states[of.status]}
          </span>
        </div>
        <p class="hint">
          <Name of={of.id} isCode /> · {texts.created(relative(Date.parse(of.created_at)))}
        </p>
        {of.note && (
          <p class="hint">
            <Name of={of.note} />
          </p>
        )}
        {of.previous_valid_until && (
          <p class="hint">{texts.oldHolds(dateTime(Date.parse(of.previous_valid_until)))}</p>
        )}
      </div>
      <KeyFacts of={of} />
      <div class="key-menu">
        {canChange && of.status !== "revoked" && (
          <Menu
            button={(props) => (
              <IconButton icon={Ellipsis} size="small" label={t().models.actionsFor(plainName(of.name))} {...props} />
            )}
            items={[
              { label: texts.rotate, icon: RotateCw, run: () => onRotate(of) },
              { label: texts.revoke, icon: Ban, tone: "bad", run: () => void revoke(of) },
            ]}
          />
        )}
      </div>
    </li>
  );
}

function KeyFacts({ of }: { of: ApiKey }): VNode {
  const texts = t().admin;
  const expiryMs = Date.parse(of.expires_at ?? "");
  const limits = LIMITS.flatMap((each) => (of[each] ? [`${texts.limitNames[each]}: ${integer(of[each])}`] : []));
  return (
    <dl class="key-facts">
      <dt>{texts.scopes}</dt>
      <dd>
        <span class="badges">
          {of.scopes.map((each) => (
            <span key={each} class="badge">
              {each}
            </span>
          ))}
        </span>
      </dd>
      <dt>{texts.models}</dt>
      <dd>{of.models ? <Name of={of.models.join(", ")} isCode /> : texts.allModels}</dd>
      {of.priority && of.priority !== "normal" && (
        <>
          <dt>{texts.priority}</dt>
          <dd>{texts.priorities[of.priority]}</dd>
        </>
      )}
      {limits.length > 0 && (
        <>
          <dt>{texts.limits}</dt>
          <dd>{limits.join(" · ")}</dd>
        </>
      )}
      <dt>{texts.expires}</dt>
      <dd>{of.expires_at ? <span title={dateTime(expiryMs)}>{relative(expiryMs)}</span> : texts.never}</dd>
    </dl>
  );
}

async function revoke(key: ApiKey): Promise<void> {
  const texts = t().admin;
  const name = plainName(key.name);
  if (!(await confirm(texts.revokeTitle(name), texts.revokeText, texts.revoke))) return;
  try {
    await revokeKey(key.id);
    toast(texts.revoked(name), { tone: "good" });
  } catch (error) {
    toastError(error);
  }
  void keys.refresh();
}
