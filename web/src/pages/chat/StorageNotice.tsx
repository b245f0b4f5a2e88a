import type { VNode } from "preact";

import { Button } from "../../components/Button";
import { Notice } from "../../components/States";
import { storageProblem } from "../../state/chats/storage";
import { exportJson } from "../../state/chats/transfer";
import { t } from "../../texts";

/** Says when what is written is not kept, and what to do. */
export function StorageNotice(): VNode | null {
  const texts = t().chat;
  const problem = storageProblem.value;
  if (!problem) return null;
  const words = {
    blocked: [texts.problemBlocked, texts.problemBlockedHint],
    full: [texts.problemFull, texts.problemFullHint],
    newer: [texts.problemNewer, texts.problemNewerHint],
    outdated: [texts.problemOutdated, texts.problemOutdatedHint],
  }[problem];
  return (
    <div class="chat-column chat-problem">
      <Notice tone="warn" title={words[0] ?? ""} hint={words[1]}>
        {problem === "outdated" ? (
          <Button size="small" onClick={() => location.reload()}>
            {t().shell.reload}
          </Button>
        ) : (
          <Button size="small" onClick={() => void exportJson()}>
            {texts.exportAll}
          </Button>
        )}
      </Notice>
    </div>
  );
}
