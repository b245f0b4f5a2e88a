import { GitCompareArrows, Plus, Send, Square } from "lucide";
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { Choice, TextArea, TextField } from "../../components/Fields";
import { Empty, ErrorNotice, Skeleton } from "../../components/States";
import { go } from "../../state/route";
import { models } from "../../state/server";
import { t } from "../../texts";
import { LaneCard } from "./LaneCard";
import { ask, isBusy, lanes, MOST, setModels, stopAll } from "./race";
import "./compare.css";

export default function ComparePage(): VNode {
  const texts = t().compare;
  const { value, error } = models.known.value;
  useEffect(() => void models.refresh(), []);
  useEffect(() => {
    if (value?.length && lanes.peek().length < 2) setModels(firstModels(lanes.peek(), value));
  }, [value]);

  return (
    <div class="page">
      <div class="page-inner compare">
        <div class="page-head">
          <div>
            <h1 class="page-title">{t().pages.compare}</h1>
            <p>{texts.intro}</p>
          </div>
        </div>
        {error !== null && <ErrorNotice error={error} onRetry={() => void models.refresh()} />}
        {value?.length === 0 ? (
          <Empty
            icon={GitCompareArrows}
            title={t().models.none}
            actions={<Button onClick={() => go("models")}>{t().pages.models}</Button>}
          />
        ) : value ? (
          <>
            <Ask />
            <Lanes />
          </>
        ) : (
          error === null && <Skeleton lines={[100, 60, 100]} />
        )}
      </div>
    </div>
  );
}

/** Two models to begin with: those that can answer, or one of them twice. */
function firstModels(chosen: readonly { model: string }[], all: readonly { name: string; capabilities?: string[] }[]): string[] {
  const able = all.filter((each) => each.capabilities?.includes("completion") ?? true).map((each) => each.name);
  const names = [...chosen.map((each) => each.model), ...able.filter((name) => !chosen.some((each) => each.model === name))];
  return [names[0] ?? "", names[1] ?? names[0] ?? ""];
}

function Lanes(): VNode {
  const all = lanes.value;
  return (
    <ul role="list" class="lanes">
      {all.map((each, index) => (
        <LaneCard
          key={each.id}
          lane={each}
          canLeave={all.length > 2}
          onModel={(model) => setModels(all.map((other, at) => (at === index ? model : other.model)))}
        />
      ))}
    </ul>
  );
}

function Ask(): VNode {
  const texts = t().compare;
  const [prompt, setPrompt] = useState("");
  const [system, setSystem] = useState("");
  const [numbers, setNumbers] = useState({ temperature: "", seed: "1", num_predict: "256" });
  const [order, setOrder] = useState<"together" | "turns">("turns");
  const canAsk = prompt.trim() !== "" && lanes.value.some((each) => each.model);

  function send(): void {
    if (canAsk) void ask({ prompt, system, options: optionsOf(numbers), isInTurn: order === "turns" });
  }

  return (
    <form
      class="card stack"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <TextArea
        label={texts.prompt}
        rows={3}
        value={prompt}
        onText={setPrompt}
        placeholder={texts.placeholder}
        onKeyDown={(event: KeyboardEvent) => {
          if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
          event.preventDefault();
          send();
        }}
      />
      <details class="compare-options">
        <summary>{texts.options}</summary>
        <div class="stack">
          <TextArea label={texts.system} rows={2} value={system} onText={setSystem} />
          <div class="compare-numbers">
            <TextField
              label={texts.temperature}
              type="number"
              min={0}
              step="any"
              value={numbers.temperature}
              onText={(temperature) => setNumbers({ ...numbers, temperature })}
            />
            <TextField
              label={texts.seed}
              type="number"
              value={numbers.seed}
              onText={(seed) => setNumbers({ ...numbers, seed })}
            />
            <TextField
              label={texts.most}
              type="number"
              min={1}
              value={numbers.num_predict}
              onText={(most) => setNumbers({ ...numbers, num_predict: most })}
            />
          </div>
        </div>
      </details>
      <div class="compare-foot">
        <div class="field">
          <Choice
            label={texts.order}
            value={order}
            options={[
              ["turns", texts.inTurn],
              ["together", texts.together],
            ]}
            onChoose={setOrder}
          />
          <span class="hint">{order === "turns" ? texts.inTurnHint : texts.togetherHint}</span>
        </div>
        <div class="compare-buttons">
          {lanes.value.length < MOST && (
            <Button icon={Plus} onClick={() => setModels([...lanes.peek().map((each) => each.model), ""])}>
              {texts.addModel}
            </Button>
          )}
          {isBusy.value ? (
            <Button icon={Square} kind="primary" onClick={stopAll}>
              {texts.stopAll}
            </Button>
          ) : (
            <Button icon={Send} kind="primary" type="submit" disabled={!canAsk}>
              {texts.ask}
            </Button>
          )}
        </div>
      </div>
    </form>
  );
}

function optionsOf(numbers: Record<string, string>): Record<string, number> {
  const found = Object.entries(numbers).map(([name, text]) => [name, Number.parseFloat(text)] as const);
  return Object.fromEntries(found.filter(([, value]) => Number.isFinite(value)));
}
