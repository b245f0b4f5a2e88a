import { FileUp } from "lucide";
import type { ComponentChildren, VNode } from "preact";
import { useState } from "preact/hooks";

import { Icon } from "../../components/Icon";
import { t } from "../../texts";
import { dropped } from "./attaching";

/** Takes files that are dropped anywhere on the page. */
export function DropZone({ children }: { children: ComponentChildren }): VNode {
  // Entering a child comes before leaving its parent, so the two are counted.
  const [depth, setDepth] = useState(0);
  const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  return (
    <div
      class="dropzone"
      onDragEnter={(event) => hasFiles(event) && setDepth((before) => before + 1)}
      onDragLeave={(event) => hasFiles(event) && setDepth((before) => Math.max(0, before - 1))}
      onDragOver={(event) => hasFiles(event) && event.preventDefault()}
      onDrop={(event) => {
        setDepth(0);
        if (!event.dataTransfer?.files.length) return;
        event.preventDefault();
        dropped.value = [...dropped.peek(), ...event.dataTransfer.files];
      }}
    >
      {children}
      {depth > 0 && (
        <div class="dropzone-veil">
          <Icon of={FileUp} size={32} />
          {t().chat.dropHere}
        </div>
      )}
    </div>
  );
}
