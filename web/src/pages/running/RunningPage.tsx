import { MemoryStick, MoonStar } from "lucide";
import type { VNode } from "preact";
import { useEffect } from "preact/hooks";

import { bytes, relative } from "../../components/format";
import { Name } from "../../components/Name";
import { Bar, Empty, ErrorNotice, Notice, Skeleton } from "../../components/States";
import { Icon } from "../../components/Icon";
import type { Top } from "../../services/api/operations";
import { models } from "../../state/server";
import { t } from "../../texts";
import { EventList } from "./EventList";
import { followEvents, gpu, now } from "./live";
import { LoadForm } from "./LoadForm";
import { ModelCard } from "./ModelCard";
import { LiveRequests, RecentRequests } from "./Requests";
import "./running.css";

const LOOK_EVERY_MS = 1000;

export default function RunningPage(): VNode {
  const texts = t().running;
  const { value, error } = now.known.value;
  useEffect(() => now.poll(LOOK_EVERY_MS), []);
  useEffect(() => followEvents(), []);
  useEffect(() => void models.refresh(), []);
  useEffect(() => void gpu.refresh(), []);
  const unused = gpu.known.value.value;

  return (
    <div class="page">
      <div class="page-inner">
        <div class="page-head">
          <div>
            <h1 class="page-title">{t().pages.running}</h1>
            <p>{value ? texts.since(relative(Date.parse(value.started_at))) : texts.intro}</p>
          </div>
        </div>
        {error !== null && <ErrorNotice error={error} onRetry={() => void now.refresh()} />}
        {unused && <Notice tone="warn" title={unused.problem} hint={unused.advice} />}
        {value ? (
          <>
            <Memory of={value.memory} models={value.models} />
            <LoadForm />
            <section class="running-section" aria-labelledby="running-models">
              <h2 id="running-models">{texts.models}</h2>
              {value.models.length ? (
                <ul role="list" class="running-models">
                  {value.models.map((each) => (
                    <ModelCard key={`${each.name} ${each.state}`} model={each} rate={value.rates.get(each.name)} />
                  ))}
                </ul>
              ) : (
                <div class="card">
                  <Empty icon={MoonStar} title={texts.nothing}>
                    {texts.nothingHint}
                  </Empty>
                </div>
              )}
            </section>
            <LiveRequests list={value.requests} />
            <RecentRequests list={value.recent} />
            <EventList />
          </>
        ) : (
          error === null && <Skeleton lines={[100, 60, 100, 100]} />
        )}
      </div>
    </div>
  );
}

function Memory({ of, models: running }: { of: Top["memory"]; models: Top["models"] }): VNode {
  const texts = t().running;
  const held = running.reduce((sum, each) => sum + (each.size ?? 0) - (each.size_vram ?? 0), 0);
  return (
    <section class="card running-memory" aria-label={texts.memory}>
      <Gauge name={texts.mainMemory} hint={texts.heldByModels(bytes(held))} total={of.total} free={of.free} />
      {of.devices.map((each) => (
        <Gauge key={each.name} name={each.description || each.name} hint={each.name} total={each.total} free={each.free} />
      ))}
    </section>
  );
}

function Gauge({ name, hint, total, free }: { name: string; hint: string; total: number; free: number }): VNode {
  const share = total > 0 ? (total - free) / total : 0;
  const tone = share > 0.95 ? "bad" : share > 0.85 ? "warn" : undefined;
  return (
    <div class="gauge">
      <div class="gauge-head">
        <span class="gauge-name">
          <Icon of={MemoryStick} size={16} />
          <Name of={name} />
        </span>
        <span>{t().running.used(bytes(total - free), bytes(total))}</span>
      </div>
      <Bar share={share} label={name} {...(tone && { tone })} />
      <span class="hint">{hint}</span>
    </div>
  );
}
