import { Power, Timer } from "lucide";
import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { bytes, integer, relative, tokens } from "../../components/format";
import { Menu } from "../../components/Menu";
import { Name, plainName } from "../../components/Name";
import { Bar } from "../../components/States";
import { keepModel, type RunningModel } from "../../services/api/operations";
import { link } from "../../state/route";
import { models } from "../../state/server";
import { toastError } from "../../state/toasts";
import { t } from "../../texts";
import { keepAlive, timeName, TIMES } from "./LoadForm";
import { now } from "./live";
import { isForever, sparkPoints, type Rate } from "./rates";

const WIDTH = 120;
const HEIGHT = 28;

export function ModelCard({ model, rate }: { model: RunningModel; rate: Rate | undefined }): VNode {
  const texts = t().running;
  const tones = { loaded: "good", loading: "accent", stopping: "warn" };
  return (
    <li class="card running-model">
      <div class="running-head">
        <a href={link("models", model.name)}>
          <Name of={model.name} />
        </a>
        <span class="badge" data-tone={tones[model.state]}>
          {texts.states[model.state]}
        </span>
      </div>
      {model.state === "loading" ? <LoadProgress model={model} /> : <Details model={model} rate={rate} />}
    </li>
  );
}

function LoadProgress({ model }: { model: RunningModel }): VNode {
  const share = model.progress ?? 0;
  return (
    <div class="stack">
      <Bar share={share} label={t().running.loadingOf(plainName(model.name))} />
      <div class="running-foot">
        <span class="hint">
          {Math.floor(100 * share)} %{model.waiting > 0 && ` · ${t().running.waitingCount(model.waiting)}`}
        </span>
        <Actions model={model} />
      </div>
    </div>
  );
}

function Details({ model, rate }: { model: RunningModel; rate: Rate | undefined }): VNode {
  const texts = t().running;
  const { size = 0, size_vram: onDevice = 0, slots = 0, running = 0, waiting, context_length: context = 0 } = model;
  const perS = rate?.perS.at(-1) ?? 0;
  return (
    <>
      <dl class="running-facts">
        <div>
          <dt>{texts.memory}</dt>
          <dd>{bytes(size)}</dd>
          {onDevice > 0 && <dd class="hint">{texts.onDevices(Math.round((100 * onDevice) / (size || 1)))}</dd>}
        </div>
        <div>
          <dt>{texts.context}</dt>
          <dd>{tokens(context)}</dd>
        </div>
        <div>
          <dt>{texts.slots}</dt>
          <dd>{texts.slotsOf(running, slots)}</dd>
          {waiting > 0 && <dd class="hint">{texts.waitingCount(waiting)}</dd>}
        </div>
        <div>
          <dt>{texts.speed}</dt>
          <dd>{texts.perS(t().units.decimal(perS, perS < 10 ? 1 : 0))}</dd>
          <dd class="hint">{texts.made(integer(model.generated_tokens))}</dd>
        </div>
      </dl>
      <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        <polyline points={sparkPoints(rate?.perS ?? [], WIDTH, HEIGHT - 2)} />
      </svg>
      <div class="running-foot">
        <span class="hint">{expiryText(model.expires_at ?? "")}</span>
        <Actions model={model} />
      </div>
    </>
  );
}

function expiryText(expiresAt: string): string {
  const texts = t().running;
  if (!expiresAt) return "";
  return isForever(expiresAt, Date.now()) ? texts.staysForever : texts.leaves(relative(Date.parse(expiresAt)));
}

function Actions({ model }: { model: RunningModel }): VNode {
  const texts = t().running;
  const [isBusy, setBusy] = useState(false);

  async function keep(time: string | number): Promise<void> {
    setBusy(true);
    const entry = models.known.peek().value?.find((each) => each.name === model.name);
    try {
      await keepModel(model.name, time, entry?.capabilities);
    } catch (error) {
      toastError(error);
    }
    setBusy(false);
    void now.refresh();
  }

  return (
    <div class="running-actions">
      {model.state === "loaded" && (
        <Menu
          button={(props) => (
            <Button size="small" icon={Timer} disabled={isBusy} aria-label={texts.keepOf(plainName(model.name))} {...props}>
              {texts.keep}
            </Button>
          )}
          items={TIMES.map((each) => ({ label: timeName(each), run: () => void keep(keepAlive(each)) }))}
        />
      )}
      <Button
        size="small"
        icon={Power}
        disabled={isBusy}
        aria-label={texts.unloadOf(plainName(model.name))}
        onClick={() => void keep(0)}
      >
        {texts.unload}
      </Button>
    </div>
  );
}
