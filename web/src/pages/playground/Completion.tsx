import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { CopyButton } from "../../components/CopyButton";
import { Switch, TextArea, TextField } from "../../components/Fields";
import { duration, integer } from "../../components/format";
import { generate, type GenerateChunk, type Logprob } from "../../services/api/inference";
import { t } from "../../texts";
import { perplexity } from "./figures";
import { TokenText } from "./TokenText";
import { Panel, useModel, useWork } from "./work";

const DRAWN_EVERY_MS = 80;
const RIVALS = 8;

interface Result {
  text: string;
  tokens: readonly Logprob[];
  last: GenerateChunk | null;
}

export function Completion(): VNode {
  const texts = t().playground;
  const work = useWork();
  const [model, setModel] = useModel("completion");
  const [prompt, setPrompt] = useState("");
  const [isRaw, setRaw] = useState(true);
  const [numbers, setNumbers] = useState({ temperature: "0.8", seed: "", num_predict: "128" });
  const [result, setResult] = useState<Result | null>(null);

  function run(): void {
    const request = {
      model,
      prompt,
      raw: isRaw,
      logprobs: true,
      top_logprobs: RIVALS,
      options: optionsOf(numbers),
    };
    setResult(null);
    work.run(async (ended) => {
      const tokens: Logprob[] = [];
      let text = "";
      let drawnMs = 0;
      for await (const chunk of generate(request, ended)) {
        text += chunk.response;
        tokens.push(...(chunk.logprobs ?? []));
        const nowMs = performance.now();
        if (!chunk.done && nowMs - drawnMs < DRAWN_EVERY_MS) continue;
        drawnMs = nowMs;
        setResult({ text, tokens: [...tokens], last: chunk.done ? chunk : null });
      }
    });
  }

  return (
    <>
      <Panel
        model={model}
        onModel={setModel}
        canRun={prompt !== ""}
        action={texts.complete}
        work={work}
        onRun={run}
        none={texts.noCompletion}
      >
        <TextArea label={texts.prompt} rows={5} isCode value={prompt} onText={setPrompt} placeholder={texts.promptExample} />
        <div class="playground-numbers">
          <TextField
            label={t().compare.temperature}
            type="number"
            min={0}
            step="any"
            value={numbers.temperature}
            onText={(temperature) => setNumbers({ ...numbers, temperature })}
          />
          <TextField
            label={t().compare.most}
            type="number"
            min={1}
            max={4096}
            value={numbers.num_predict}
            onText={(most) => setNumbers({ ...numbers, num_predict: most })}
          />
          <TextField
            label={t().compare.seed}
            type="number"
            value={numbers.seed}
            onText={(seed) => setNumbers({ ...numbers, seed })}
          />
        </div>
        <Switch label={texts.raw} isOn={isRaw} onChange={setRaw} />
      </Panel>
      {result && <Shown result={result} />}
    </>
  );
}

function Shown({ result }: { result: Result }): VNode {
  const texts = t().playground;
  const { last, tokens, text } = result;
  const doubt = perplexity(tokens.map((each) => each.logprob));
  const seconds = last?.eval_duration ? last.eval_duration / 1e9 : 0;
  const figures = [
    texts.tokenCount(integer(last?.eval_count ?? tokens.length)),
    seconds > 0 && t().chat.perS(t().units.decimal((last?.eval_count ?? 0) / seconds, 1)),
    last?.total_duration && duration(last.total_duration / 1e6),
    doubt !== null && texts.perplexity(t().units.decimal(doubt, 2)),
  ];
  return (
    <section class="card stack" aria-label={texts.result}>
      <div class="panel-head">
        <p class="hint">{figures.filter(Boolean).join(" · ")}</p>
        <CopyButton text={text} />
      </div>
      {tokens.length ? (
        <TokenText tokens={tokens} />
      ) : (
        <p class="token-plain" dir="auto">
          {text}
        </p>
      )}
    </section>
  );
}

function optionsOf(numbers: Record<string, string>): Record<string, number> {
  const found = Object.entries(numbers).map(([name, text]) => [name, Number.parseFloat(text)] as const);
  return Object.fromEntries(found.filter(([, value]) => Number.isFinite(value)));
}
