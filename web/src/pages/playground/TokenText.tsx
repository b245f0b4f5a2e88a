import type { VNode } from "preact";
import { memo } from "../../components/memo";
import { useRef, useState } from "preact/hooks";

import type { Logprob } from "../../services/api/inference";
import { t } from "../../texts";
import { percent, probability, shownToken, sureness } from "./figures";

const BLOCK = 64;

/** A text by its tokens, coloured by how sure the model was. The one that is pointed at or focused shows its rivals. */
export function TokenText({ tokens }: { tokens: readonly Logprob[] }): VNode {
  const texts = t().playground;
  const [at, setAt] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const blocks = Array.from({ length: Math.ceil(tokens.length / BLOCK) }, (_, index) => index * BLOCK);
  const current = tokens[Math.min(at, tokens.length - 1)];

  function move(event: KeyboardEvent): void {
    const isRightToLeft = box.current !== null && getComputedStyle(box.current).direction === "rtl";
    const [back, on] = isRightToLeft ? ["ArrowRight", "ArrowLeft"] : ["ArrowLeft", "ArrowRight"];
    const next = { [back]: at - 1, [on]: at + 1, Home: 0, End: tokens.length - 1 }[event.key];
    if (next === undefined || next < 0 || next >= tokens.length) return;
    event.preventDefault();
    setAt(next);
    box.current?.querySelector<HTMLElement>(`[data-at="${next}"]`)?.focus();
  }

  function show(event: Event): void {
    const text = (event.target as HTMLElement).dataset["at"];
    if (text !== undefined) setAt(Number(text));
  }

  return (
    <div class="token-view">
      <div
        ref={box}
        class="token-text"
        role="group"
        aria-label={texts.tokensOf}
        onKeyDown={move}
        onFocusIn={show}
        onMouseOver={show}
        onClick={show}
      >
        {blocks.map((start) => (
          <Block
            key={start}
            start={start}
            tokens={tokens.slice(start, start + BLOCK)}
            at={at >= start && at < start + BLOCK ? at : -1}
          />
        ))}
      </div>
      {current && <Rivals of={current} />}
    </div>
  );
}

interface BlockProps {
  start: number;
  tokens: readonly Logprob[];
  at: number;
}

const Block = memo(
  function Block({ start, tokens, at }: BlockProps): VNode {
    return (
      <>
        {tokens.map((each, index) => (
          <TokenButton key={index} token={each} at={start + index} isCurrent={start + index === at} />
        ))}
      </>
    );
  },
  (before, after) => before.tokens.length === after.tokens.length && before.at === after.at && before.tokens[0] === after.tokens[0],
);

function TokenButton({ token, at, isCurrent }: { token: Logprob; at: number; isCurrent: boolean }): VNode {
  const breaks = token.token.endsWith("\n");
  return (
    <>
      <button
        type="button"
        class="token"
        data-at={at}
        data-sure={sureness(token.logprob)}
        aria-pressed={isCurrent}
        tabIndex={isCurrent ? 0 : -1}
      >
        {shownToken(token)}
      </button>
      {breaks && <br />}
    </>
  );
}

function Rivals({ of }: { of: Logprob }): VNode {
  const texts = t().playground;
  const isListed = of.top_logprobs?.some((each) => each.token === of.token) ?? false;
  const all = isListed ? (of.top_logprobs ?? []) : [of, ...(of.top_logprobs ?? [])];
  return (
    <div class="rivals" role="status">
      <h2>{texts.rivals}</h2>
      <ol role="list">
        {all.map((each, index) => {
          const p = probability(each.logprob);
          const isChosen = each.token === of.token;
          return (
            <li key={index} data-chosen={isChosen || undefined}>
              <bdi class="rival-token">{shownToken(each)}</bdi>
              <span class="rival-bar" aria-hidden="true">
                <span style={{ inlineSize: `${100 * p}%` }} />
              </span>
              <span class="rival-share">{percent(p, t().units.decimal)}</span>
              {isChosen && <span class="visually-hidden">{texts.chosen}</span>}
            </li>
          );
        })}
      </ol>
    </div>
  );
}
