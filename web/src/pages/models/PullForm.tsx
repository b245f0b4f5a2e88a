import { Download } from "lucide";
import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { Switch, TextField } from "../../components/Fields";
import { startPull } from "../../state/transfers/pulls";
import { t } from "../../texts";
import { mayBeInsecure } from "./reading";

export function PullForm(): VNode {
  const texts = t().models;
  const [name, setName] = useState("");
  const [isInsecure, setInsecure] = useState(false);
  const asks = mayBeInsecure(name);

  return (
    <form
      class="card pull-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (!name.trim()) return;
        startPull(name.trim(), asks && isInsecure);
        setName("");
      }}
    >
      <div class="pull-row">
        <TextField
          label={texts.pullLabel}
          hint={texts.pullHint}
          placeholder="qwen3:0.6b"
          name="pull"
          dir="ltr"
          value={name}
          onText={setName}
        />
        <Button kind="primary" icon={Download} type="submit" disabled={!name.trim()}>
          {texts.pull}
        </Button>
      </div>
      {asks && <Switch label={texts.insecure} isOn={isInsecure} onChange={setInsecure} />}
    </form>
  );
}
