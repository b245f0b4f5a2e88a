import { Play, Square } from "lucide";
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { ModelPicker } from "../../components/ModelPicker";
import { ErrorNotice, Spinner } from "../../components/States";
import { isAbort } from "../../services/api/errors";
import type { Capability } from "../../services/api/types";
import { models } from "../../state/server";
import { t } from "../../texts";

/** A piece of work that can be begun, stopped and fail. It ends when its component goes away. */
export interface Work {
  isBusy: boolean;
  error: unknown;
  run: (work: (ended: AbortSignal) => Promise<void>) => void;
  stop: () => void;
}

export function useWork(): Work {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const running = useRef<AbortController | null>(null);
  useEffect(() => () => running.current?.abort(), []);

  async function begin(work: (ended: AbortSignal) => Promise<void>): Promise<void> {
    running.current?.abort();
    const mine = (running.current = new AbortController());
    setBusy(true);
    setError(null);
    try {
      await work(mine.signal);
    } catch (problem) {
      if (!isAbort(problem) && running.current === mine) setError(problem);
    }
    if (running.current === mine) setBusy(false);
  }

  return { isBusy, error, run: (work) => void begin(work), stop: () => running.current?.abort() };
}

const chosen = new Map<Capability, string>();

/** The model for a kind of work: the one that was chosen last, or the first that can do it. */
export function useModel(capability: Capability): [string, (model: string) => void] {
  const [model, setModel] = useState(chosen.get(capability) ?? "");
  const all = models.known.value.value ?? [];
  const able = all.find((each) => each.capabilities?.includes(capability));
  const isThere = all.some((each) => each.name === model);
  const choose = (name: string): void => {
    chosen.set(capability, name);
    setModel(name);
  };
  return [isThere ? model : (able?.name ?? ""), choose];
}

interface PanelProps {
  model: string;
  onModel: (model: string) => void;
  canRun: boolean;
  /** The word on the button. */
  action: string;
  work: Work;
  onRun: () => void;
  /** What to say where no model can do this. */
  none: string;
  children: ComponentChildren;
}

/** What is asked, with the model and the button. Ctrl+Enter runs it too. */
export function Panel({ model, onModel, canRun, action, work, onRun, none, children }: PanelProps): VNode {
  const isReady = canRun && model !== "";
  return (
    <form
      class="card stack"
      onSubmit={(event) => {
        event.preventDefault();
        if (isReady) onRun();
      }}
      onKeyDown={(event) => {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !isReady) return;
        event.preventDefault();
        onRun();
      }}
    >
      <div class="panel-head">
        <ModelPicker value={model} onChoose={onModel} />
        {work.isBusy && (
          <span class="panel-busy" role="status">
            <Spinner label={t().playground.working} />
          </span>
        )}
        {work.isBusy ? (
          <Button icon={Square} onClick={work.stop}>
            {t().chat.stop}
          </Button>
        ) : (
          <Button icon={Play} kind="primary" type="submit" disabled={!isReady}>
            {action}
          </Button>
        )}
      </div>
      {model === "" && models.known.value.value && <p class="hint">{none}</p>}
      {children}
      {work.error !== null && <ErrorNotice error={work.error} />}
    </form>
  );
}
