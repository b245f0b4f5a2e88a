import { Plus, X } from "lucide";
import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { Button, IconButton } from "../../components/Button";
import { TextArea } from "../../components/Fields";
import { duration, integer } from "../../components/format";
import { embed, type Embeddings as Answer } from "../../services/api/inference";
import { t } from "../../texts";
import { similarities } from "./figures";
import { Panel, useModel, useWork } from "./work";

const MOST = 20;

interface Result {
  texts: readonly string[];
  answer: Answer;
  matrix: number[][];
}

export function Embeddings(): VNode {
  const texts = t().playground;
  const work = useWork();
  const [model, setModel] = useModel("embedding");
  const [list, setList] = useState<readonly string[]>(["", "", ""]);
  const [result, setResult] = useState<Result | null>(null);
  const filled = list.map((each) => each.trim()).filter(Boolean);

  function run(): void {
    work.run(async (ended) => {
      const answer = await embed(model, filled, ended);
      setResult({ texts: filled, answer, matrix: similarities(answer.embeddings) });
    });
  }

  return (
    <>
      <Panel
        model={model}
        onModel={setModel}
        canRun={filled.length > 0}
        action={texts.embed}
        work={work}
        onRun={run}
        none={texts.noEmbedding}
      >
        <TextList list={list} onChange={setList} name={texts.text} most={MOST} add={texts.addText} remove={texts.removeText} />
      </Panel>
      {result && <Matrix result={result} />}
    </>
  );
}

interface ListProps {
  list: readonly string[];
  onChange: (list: readonly string[]) => void;
  name: (number: number) => string;
  remove: (number: number) => string;
  add: string;
  most: number;
}

/** Fields for several texts. */
export function TextList({ list, onChange, name, remove, add, most }: ListProps): VNode {
  return (
    <div class="text-list">
      {list.map((each, index) => (
        <div key={index} class="text-row">
          <TextArea
            label={name(index + 1)}
            rows={1}
            value={each}
            onText={(text) => onChange(list.map((other, at) => (at === index ? text : other)))}
          />
          <IconButton
            icon={X}
            label={remove(index + 1)}
            disabled={list.length <= 1}
            onClick={() => onChange(list.filter((_, at) => at !== index))}
          />
        </div>
      ))}
      {list.length < most && (
        <Button size="small" icon={Plus} class="fit" onClick={() => onChange([...list, ""])}>
          {add}
        </Button>
      )}
    </div>
  );
}

function Matrix({ result }: { result: Result }): VNode {
  const texts = t().playground;
  const { answer, matrix } = result;
  const figures = [
    texts.dimensions(integer(answer.embeddings[0]?.length ?? 0)),
    answer.prompt_eval_count && texts.tokenCount(integer(answer.prompt_eval_count)),
    answer.total_duration && duration(answer.total_duration / 1e6),
  ];
  return (
    <section class="card stack" aria-label={texts.result}>
      <p class="hint">{figures.filter(Boolean).join(" · ")}</p>
      <div class="scroll-x" tabIndex={0} role="group" aria-label={texts.matrix}>
        <table class="matrix">
          <caption class="visually-hidden">{texts.matrix}</caption>
          <thead>
            <tr>
              <td />
              {matrix.map((_, index) => (
                <th key={index} scope="col">
                  {index + 1}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {matrix.map((row, index) => (
              <tr key={index}>
                <th scope="row">
                  <span class="matrix-number">{index + 1}</span>
                  <bdi>{result.texts[index]}</bdi>
                </th>
                {row.map((value, column) => (
                  <td key={column} style={{ background: shade(value) }}>
                    {t().units.decimal(value, 2)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <details>
        <summary class="hint">{texts.numbers}</summary>
        <ol class="vectors">
          {answer.embeddings.map((vector, index) => (
            <li key={index}>
              <code>
                [{vector.slice(0, 12).map((value) => value.toFixed(4)).join(", ")}
                {vector.length > 12 ? ", …" : ""}]
              </code>
            </li>
          ))}
        </ol>
      </details>
    </section>
  );
}

/** Darker is more alike; the text on it stays readable, because the colour is at most a third of the mixture. */
function shade(value: number): string {
  return `color-mix(in oklab, var(--accent) ${Math.round(34 * Math.max(0, value))}%, var(--surface))`;
}
