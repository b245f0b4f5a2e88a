import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { CopyButton } from "../../components/CopyButton";
import { Switch, TextArea } from "../../components/Fields";
import { integer } from "../../components/format";
import { tokenize, type Tokens } from "../../services/api/inference";
import { Button } from "../../components/Button";
import { t } from "../../texts";
import { visible } from "./figures";
import { Panel, useModel, useWork } from "./work";

/** More are shown when asked for: a book has hundreds of thousands. */
const SHOWN = 2000;

export function Tokenize(): VNode {
  const texts = t().playground;
  const work = useWork();
  const [model, setModel] = useModel("completion");
  const [text, setText] = useState("");
  const [addSpecial, setAddSpecial] = useState(false);
  const [result, setResult] = useState<(Tokens & { characters: number }) | null>(null);

  function run(): void {
    work.run(async (ended) => {
      const found = await tokenize(model, text, addSpecial, ended);
      setResult({ ...found, characters: [...text].length });
    });
  }

  return (
    <>
      <Panel
        model={model}
        onModel={setModel}
        canRun={text !== ""}
        action={texts.tokenize}
        work={work}
        onRun={run}
        none={texts.noCompletion}
      >
        <TextArea label={texts.textToSplit} rows={5} value={text} onText={setText} />
        <Switch label={texts.addSpecial} isOn={addSpecial} onChange={setAddSpecial} />
      </Panel>
      {result && <Pieces key={result.tokens.length} of={result} />}
    </>
  );
}

function Pieces({ of }: { of: Tokens & { characters: number } }): VNode {
  const texts = t().playground;
  const [most, setMost] = useState(SHOWN);
  const count = of.tokens.length;
  const ratio = count ? t().units.decimal(of.characters / count, 2) : "–";
  return (
    <section class="card stack" aria-label={texts.result}>
      <div class="panel-head">
        <p class="hint" role="status">
          {texts.pieceFigures(integer(count), integer(of.characters), ratio)}
        </p>
        <CopyButton text={() => JSON.stringify(of.tokens)} label={texts.copyNumbers} />
      </div>
      <ol class="pieces" role="list">
        {of.tokens.slice(0, most).map((token, index) => (
          <li key={index} class="piece">
            <bdi>{visible(of.pieces?.[index] ?? "")}</bdi>
            <span>{token}</span>
          </li>
        ))}
      </ol>
      {count > most && (
        <Button size="small" class="fit" onClick={() => setMost(most + 5 * SHOWN)}>
          {texts.showMore(integer(count - most))}
        </Button>
      )}
    </section>
  );
}
