import type { ComponentChildren, VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { CopyButton } from "../../components/CopyButton";
import { bytes, dateTime, integer } from "../../components/format";
import { Name, plainName } from "../../components/Name";
import { ErrorNotice, Spinner } from "../../components/States";
import { isAbort } from "../../services/api/errors";
import { origins, showWhole, type Tensor } from "../../services/api/library";
import type { ModelEntry, ShownModel } from "../../services/api/types";
import { resource } from "../../state/resource";
import { t } from "../../texts";
import { readParameters } from "./reading";

const origin = resource(() => origins());
/** Longer values are cut: a vocabulary is not for reading. */
const MOST_CHARACTERS = 2000;

export function Facts({ model, shown }: { model: ModelEntry; shown: ShownModel | null }): VNode {
  const texts = t().models;
  const { details } = model;
  useEffect(() => void origin.refresh(), []);
  const from = origin.known.value.value?.[model.name];
  const count = shown?.model_info["general.parameter_count"];
  const facts: [string, ComponentChildren][] = [
    [texts.family, details.family && <Name of={details.family} />],
    [texts.parameterSize, typeof count === "number" ? integer(count) : details.parameter_size],
    [texts.quantization, details.quantization_level && <Name of={details.quantization_level} />],
    [texts.context, details.context_length && texts.tokensOf(integer(details.context_length))],
    [texts.embedding, details.embedding_length && integer(details.embedding_length)],
    [texts.size, bytes(model.size)],
    [texts.modified, dateTime(Date.parse(model.modified_at))],
    [texts.origin, from && (from === "local" ? texts.originLocal : <Name of={from} />)],
    [texts.digest, <Name of={model.digest.slice(0, 12)} isCode />],
  ];
  return (
    <dl class="card model-facts">
      {facts.map(
        ([label, value]) =>
          Boolean(value) && (
            <div key={label}>
              <dt>{label}</dt>
              <dd>{value}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

export function Text({ text, isCode = true }: { text: string; isCode?: boolean }): VNode {
  return (
    <div class="card model-text">
      <CopyButton text={text} />
      <pre dir="auto" tabIndex={0} data-prose={!isCode || undefined}>
        {text}
      </pre>
    </div>
  );
}

export function Parameters({ text }: { text: string }): VNode {
  return (
    <Rows
      head={[t().models.name, t().models.value]}
      rows={readParameters(text).map(({ name, value }) => [name, value])}
    />
  );
}

export function Metadata({ of }: { of: Record<string, unknown> }): VNode {
  const rows = Object.entries(of).map(([name, value]): [string, string] => [name, metadataText(value)]);
  return <Rows head={[t().models.name, t().models.value]} rows={rows} />;
}

export function Tensors({ model }: { model: string }): VNode {
  const texts = t().models;
  const [found, setFound] = useState<Tensor[] | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const controller = useRef(new AbortController());
  useEffect(() => () => controller.current.abort(), []);

  async function load(): Promise<void> {
    setBusy(true);
    setError(null);
    try {
      setFound((await showWhole(model, controller.current.signal)).tensors ?? []);
    } catch (problem) {
      if (!isAbort(problem)) setError(problem);
    }
    setBusy(false);
  }

  if (error !== null) return <ErrorNotice error={error} onRetry={() => void load()} />;
  if (!found) {
    return (
      <div class="card model-tensors">
        <p class="hint">{texts.tensorsHint}</p>
        <Button onClick={() => void load()} disabled={isBusy}>
          {isBusy ? <Spinner label={t().common.loading} /> : texts.tensorsLoad}
        </Button>
      </div>
    );
  }
  return (
    <Rows
      head={[texts.name, texts.type, texts.shape]}
      rows={found.map(({ name, type, shape }) => [name, type, shape.map(integer).join(" × ")])}
    />
  );
}

function Rows({ head, rows }: { head: string[]; rows: string[][] }): VNode {
  return (
    <div class="table-box" tabIndex={0} role="group" aria-label={t().common.details}>
      <table class="table model-rows">
        <thead>
          <tr>
            {head.map((each) => (
              <th key={each} scope="col">
                {each}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([name = "", ...values], index) => (
            <tr key={index}>
              <th scope="row">
                <Name of={name} isCode />
              </th>
              {values.map((value, column) => (
                <td key={column}>
                  <bdi>{plainName(value)}</bdi>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function metadataText(value: unknown): string {
  if (Array.isArray(value)) return t().models.values(integer(value.length));
  if (value === null) return "–";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
}

