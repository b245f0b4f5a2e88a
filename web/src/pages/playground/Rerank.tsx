import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { TextArea } from "../../components/Fields";
import { duration } from "../../components/format";
import { rerank, type Ranking } from "../../services/api/inference";
import { t } from "../../texts";
import { TextList } from "./Embeddings";
import { Panel, useModel, useWork } from "./work";

const MOST = 50;

interface Result {
  documents: readonly string[];
  ranking: Ranking;
}

export function Rerank(): VNode {
  const texts = t().playground;
  const work = useWork();
  const [model, setModel] = useModel("rerank");
  const [query, setQuery] = useState("");
  const [list, setList] = useState<readonly string[]>(["", "", ""]);
  const [result, setResult] = useState<Result | null>(null);
  const documents = list.map((each) => each.trim()).filter(Boolean);

  function run(): void {
    work.run(async (ended) => setResult({ documents, ranking: await rerank(model, query, documents, ended) }));
  }

  return (
    <>
      <Panel
        model={model}
        onModel={setModel}
        canRun={query.trim() !== "" && documents.length > 0}
        action={texts.rank}
        work={work}
        onRun={run}
        none={texts.noRerank}
      >
        <div class="text-one">
          <TextArea label={texts.query} rows={1} value={query} onText={setQuery} />
        </div>
        <TextList
          list={list}
          onChange={setList}
          name={texts.document}
          most={MOST}
          add={texts.addDocument}
          remove={texts.removeDocument}
        />
      </Panel>
      {result && <Ranked result={result} />}
    </>
  );
}

function Ranked({ result }: { result: Result }): VNode {
  const texts = t().playground;
  const { ranking, documents } = result;
  const scores = ranking.results.map((each) => each.relevance_score);
  const [most, least] = [Math.max(...scores), Math.min(0, ...scores)];
  return (
    <section class="card stack" aria-label={texts.result}>
      {ranking.total_duration && <p class="hint">{duration(ranking.total_duration / 1e6)}</p>}
      <ol class="ranked" role="list">
        {ranking.results.map(({ index, relevance_score: score }, place) => (
          <li key={index}>
            <span class="ranked-place">{place + 1}</span>
            <div>
              <p dir="auto">{documents[index]}</p>
              <span class="rival-bar" aria-hidden="true">
                <span style={{ inlineSize: `${most > least ? (100 * (score - least)) / (most - least) : 0}%` }} />
              </span>
            </div>
            <span class="ranked-score">{t().units.decimal(score, 4)}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}
