import { RotateCw, X } from "lucide";
import type { VNode } from "preact";

import { Button, IconButton } from "../../components/Button";
import { bytes, duration } from "../../components/format";
import { Name, plainName } from "../../components/Name";
import { Bar, Spinner } from "../../components/States";
import { creations, endCreation, retryCreation, type Creation } from "../../state/transfers/creations";
import { cancelPull, pulls, startPull, type Pull } from "../../state/transfers/pulls";
import { t } from "../../texts";

/** What is being pulled, uploaded and made, and what of that failed. */
export function Transfers(): VNode | null {
  const texts = t().models;
  if (pulls.value.length + creations.value.length === 0) return null;
  const isUploading = creations.value.some((each) => !each.error);
  const isPulling = pulls.value.some((each) => !each.error);
  return (
    <section class="transfers" aria-label={texts.transfers}>
      <ul role="list">
        {creations.value.map((each) => (
          <CreationRow key={each.id} creation={each} />
        ))}
        {pulls.value.map((each) => (
          <PullRow key={each.model} pull={each} />
        ))}
      </ul>
      {isUploading && <p class="hint">{texts.uploadNote}</p>}
      {isPulling && <p class="hint">{texts.pullNote}</p>}
    </section>
  );
}

function PullRow({ pull }: { pull: Pull }): VNode {
  const texts = t().models;
  const name = plainName(pull.model);
  return (
    <Row
      name={pull.model}
      words={pullWords(pull)}
      share={shareOf(pull.doneBytes, pull.totalBytes)}
      isBusy={pull.state === "running"}
      error={pull.error}
      hint={pull.hint}
      cancel={pull.error ? t().shell.dismiss : texts.cancelPull(name)}
      onCancel={() => cancelPull(pull.model)}
      onRetry={() => startPull(pull.model, pull.isInsecure)}
    />
  );
}

function CreationRow({ creation }: { creation: Creation }): VNode {
  const texts = t().models;
  const { stage, doneBytes, totalBytes, status } = creation;
  const sizes = texts.of(bytes(doneBytes), bytes(totalBytes));
  const words = {
    reading: texts.readingFile(sizes),
    sending: texts.sendingFile(sizes),
    creating: texts.creating(plainName(status)),
    failed: "",
  };
  return (
    <Row
      name={creation.model}
      words={words[stage]}
      share={shareOf(doneBytes, totalBytes)}
      isBusy
      error={creation.error}
      hint={creation.hint}
      cancel={creation.error ? t().shell.dismiss : texts.cancelCreate(plainName(creation.model))}
      onCancel={() => endCreation(creation.id)}
      onRetry={() => retryCreation(creation.id)}
    />
  );
}

interface RowProps {
  name: string;
  words: string;
  share: number | null;
  isBusy: boolean;
  error: string;
  hint: string;
  cancel: string;
  onCancel: () => void;
  onRetry: () => void;
}

function Row({ name, words, share, isBusy, error, hint, cancel, onCancel, onRetry }: RowProps): VNode {
  return (
    <li class="card transfer" data-failed={error ? "" : undefined}>
      <div class="transfer-head">
        {!error && isBusy && <Spinner />}
        <strong>
          <Name of={name} />
        </strong>
        {share !== null && !error && <span class="transfer-share">{Math.floor(100 * share)} %</span>}
        {error && (
          <Button size="small" icon={RotateCw} onClick={onRetry}>
            {t().common.retry}
          </Button>
        )}
        <IconButton icon={X} size="small" label={cancel} onClick={onCancel} />
      </div>
      {error ? (
        <p class="problem" role="alert">
          {plainName(error)}
          {hint && <span class="hint"> {plainName(hint)}</span>}
        </p>
      ) : (
        <>
          <Bar share={share} label={plainName(name)} />
          <p class="hint">{words}</p>
        </>
      )}
    </li>
  );
}

function pullWords(pull: Pull): string {
  const texts = t().models;
  if (pull.state === "waiting") return texts.pullWaiting;
  if (pull.state === "offline") return `${t().common.offline}. ${texts.pullRetries}`;
  if (!pull.totalBytes) return plainName(pull.status) || t().common.loading;
  const parts = [texts.of(bytes(pull.doneBytes), bytes(pull.totalBytes))];
  if (pull.bytesPerS >= 1 && pull.doneBytes < pull.totalBytes) {
    parts.push(`${bytes(pull.bytesPerS)}/s`);
    parts.push(texts.left(duration((1000 * (pull.totalBytes - pull.doneBytes)) / pull.bytesPerS)));
  } else if (pull.status) parts.push(plainName(pull.status));
  return parts.join(" · ");
}

function shareOf(done: number, total: number): number | null {
  return total > 0 ? done / total : null;
}
