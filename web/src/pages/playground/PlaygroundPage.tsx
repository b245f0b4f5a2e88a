import type { VNode } from "preact";
import { useEffect } from "preact/hooks";

import { Choice } from "../../components/Fields";
import { ErrorNotice } from "../../components/States";
import { replace, route } from "../../state/route";
import { models } from "../../state/server";
import { t } from "../../texts";
import { Completion } from "./Completion";
import { Embeddings } from "./Embeddings";
import { Rerank } from "./Rerank";
import { Tokenize } from "./Tokenize";
import "./playground.css";

const PARTS = { completion: Completion, embeddings: Embeddings, rerank: Rerank, tokens: Tokenize };
type Part = keyof typeof PARTS;

export default function PlaygroundPage(): VNode {
  const texts = t().playground;
  const wanted = route.value.rest[0] ?? "";
  const part: Part = Object.hasOwn(PARTS, wanted) ? (wanted as Part) : "completion";
  const Shown = PARTS[part];
  const { error } = models.known.value;
  useEffect(() => void models.refresh(), []);

  return (
    <div class="page">
      <div class="page-inner">
        <div class="page-head">
          <div>
            <h1 class="page-title">{t().pages.playground}</h1>
            <p>{texts.intros[part]}</p>
          </div>
        </div>
        <Choice
          label={t().pages.playground}
          value={part}
          options={(Object.keys(PARTS) as Part[]).map((each) => [each, texts.parts[each]] as const)}
          onChoose={(each) => replace("playground", each)}
        />
        {error !== null && <ErrorNotice error={error} onRetry={() => void models.refresh()} />}
        <Shown key={part} />
      </div>
    </div>
  );
}
