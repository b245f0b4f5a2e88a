import { CircleStop } from "lucide";
import type { ComponentChildren, VNode } from "preact";
import { useState } from "preact/hooks";

import { Button, IconButton } from "../../components/Button";
import { duration, integer, relative } from "../../components/format";
import { Name, plainName } from "../../components/Name";
import { cancelRequest, type EndedRequest, type LiveRequest } from "../../services/api/operations";
import { toast, toastError } from "../../state/toasts";
import { t } from "../../texts";
import { now } from "./live";

const FEW = 8;

export function LiveRequests({ list }: { list: readonly LiveRequest[] }): VNode {
  const texts = t().running;
  const head = [texts.request, texts.state, texts.waited, texts.tokens, texts.perSHead, ""];
  return (
    <section class="running-section" aria-labelledby="running-queue">
      <h2 id="running-queue">{texts.queue}</h2>
      {list.length ? (
        <Table name={texts.queue} head={head}>
          {list.map((each) => (
            <tr key={each.id}>
              <RequestCell id={each.id} path={each.path} model={each.model} keyId={each.key} />
              <td>
                <State of={each} />
              </td>
              <td data-number>{duration(each.waited_ms)}</td>
              <td data-number>{integer(each.tokens)}</td>
              <td data-number>{speed(each.tokens_per_s)}</td>
              <td>
                <IconButton
                  icon={CircleStop}
                  size="small"
                  label={texts.cancelOf(plainName(each.id))}
                  onClick={() => void cancel(each.id)}
                />
              </td>
            </tr>
          ))}
        </Table>
      ) : (
        <p class="hint">{texts.noRequests}</p>
      )}
    </section>
  );
}

function State({ of }: { of: LiveRequest }): VNode {
  const texts = t().running;
  const priority = of.priority && of.priority !== "normal" ? t().admin.priorities[of.priority] : "";
  if (of.state === "running") return <span class="badge" data-tone="good">{texts.requestStates.running}</span>;
  return (
    <>
      <span class="badge" data-tone="warn">
        {texts.requestStates[of.state]} {of.position > 0 && `#${of.position}`}
      </span>
      {priority && <div class="hint">{priority}</div>}
      {of.eta_ms !== undefined && <div class="hint">{texts.eta(duration(of.eta_ms))}</div>}
    </>
  );
}

async function cancel(id: string): Promise<void> {
  try {
    await cancelRequest(id);
    toast(t().running.cancelled(id), { tone: "good" });
  } catch (error) {
    toastError(error);
  }
  void now.refresh();
}

export function RecentRequests({ list }: { list: readonly EndedRequest[] }): VNode | null {
  const texts = t().running;
  const [isWhole, setWhole] = useState(false);
  const head = [texts.request, texts.status, texts.took, texts.tokens, texts.perSHead, texts.ended];
  if (!list.length) return null;
  return (
    <section class="running-section" aria-labelledby="running-recent">
      <h2 id="running-recent">{texts.recent}</h2>
      <Table name={texts.recent} head={head}>
        {list.slice(0, isWhole ? list.length : FEW).map((each) => (
          <tr key={`${each.id} ${each.ended_at}`}>
            <RequestCell id={each.id} path={each.path} model={each.model} keyId={each.key} />
            <td>
              <span class="badge" data-tone={each.status < 400 ? "good" : "bad"}>
                {each.status}
              </span>
              {each.error && (
                <div class="hint">
                  <Name of={each.error} />
                </div>
              )}
            </td>
            <td data-number>{duration(each.ms)}</td>
            <td data-number>{integer(each.tokens)}</td>
            <td data-number>{speed(each.tokens_per_s)}</td>
            <td data-number>{relative(Date.parse(each.ended_at))}</td>
          </tr>
        ))}
      </Table>
      {list.length > FEW && (
        <Button size="small" class="fit" onClick={() => setWhole(!isWhole)}>
          {isWhole ? texts.fewer : texts.allOf(list.length)}
        </Button>
      )}
    </section>
  );
}

function speed(perS: number | undefined): string {
  return perS ? t().units.decimal(perS, perS < 10 ? 1 : 0) : "–";
}

interface CellProps {
  id: string;
  path: string;
  model: string | undefined;
  keyId: string | undefined;
}

function RequestCell({ id, path, model, keyId }: CellProps): VNode {
  return (
    <th scope="row" class="request-cell">
      <Name of={model || "–"} />
      <span class="hint">
        <Name of={path} isCode /> · <Name of={id} isCode />
        {keyId && (
          <>
            {" · "}
            <Name of={keyId} isCode />
          </>
        )}
      </span>
    </th>
  );
}

function Table({ name, head, children }: { name: string; head: string[]; children: ComponentChildren }): VNode {
  return (
    <div class="table-box" tabIndex={0} role="group" aria-label={name}>
      <table class="table">
        <thead>
          <tr>
            {head.map((each, index) => (
              <th key={index} scope="col" data-number={index > 1 && index < head.length ? "" : undefined}>
                {each || <span class="visually-hidden">{t().common.more}</span>}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
