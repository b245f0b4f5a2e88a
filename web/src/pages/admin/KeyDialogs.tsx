import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { CopyButton } from "../../components/CopyButton";
import { Dialog } from "../../components/Dialog";
import { SelectField } from "../../components/Fields";
import { plainName } from "../../components/Name";
import { ErrorNotice, Notice } from "../../components/States";
import { rotateKey, type ApiKey, type NewKey } from "../../services/api/keys";
import { t } from "../../texts";

const GRACES = ["0", "1h", "24h", "7d"] as const;

/** Shows the text of a key, which cannot be seen again. A slip does not close this: Escape asks first. */
export function NewKeyDialog({ of, onClose }: { of: NewKey; onClose: () => void }): VNode {
  const texts = t().admin;
  const [asks, setAsks] = useState(false);
  return (
    <Dialog
      title={texts.madeTitle(plainName(of.name))}
      onClose={() => (asks ? onClose() : setAsks(true))}
      footer={
        <Button kind="primary" onClick={onClose}>
          {texts.haveIt}
        </Button>
      }
    >
      <Notice tone="warn" title={texts.once} hint={asks ? texts.closeHint : undefined} />
      <div class="new-key">
        <code dir="ltr" tabIndex={0}>
          {of.key}
        </code>
        <CopyButton text={of.key} label={texts.copyKey} />
      </div>
      <p class="hint">{texts.useKey}</p>
      <pre class="new-key-use" dir="ltr">{`export CORRAL_API_KEY=${of.key.slice(0, 6)}…`}</pre>
    </Dialog>
  );
}

export function RotateDialog({ of, onClose, onNew }: { of: ApiKey; onClose: () => void; onNew: (key: NewKey) => void }): VNode {
  const texts = t().admin;
  const [grace, setGrace] = useState("24h");
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);

  async function rotate(): Promise<void> {
    setBusy(true);
    setError(null);
    try {
      onNew(await rotateKey(of.id, grace));
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  }

  return (
    <Dialog
      title={texts.rotateTitle(plainName(of.name))}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t().common.cancel}</Button>
          <Button kind="primary" disabled={isBusy} onClick={() => void rotate()}>
            {texts.rotate}
          </Button>
        </>
      }
    >
      <p>{texts.rotateText}</p>
      <SelectField
        label={texts.grace}
        value={grace}
        options={GRACES.map((each) => [each, texts.graces[each]] as const)}
        onText={setGrace}
      />
      {error !== null && <ErrorNotice error={error} />}
    </Dialog>
  );
}
