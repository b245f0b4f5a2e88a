import { FileUp } from "lucide";
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Icon } from "../../components/Icon";
import { toast } from "../../state/toasts";
import { t } from "../../texts";

/** Takes GGUF files that are dropped anywhere on the page. */
export function DropArea({ onFiles, children }: { onFiles: (files: File[]) => void; children: ComponentChildren }): VNode {
  const [isOver, setOver] = useState(false);

  useEffect(() => {
    // Dragging over a child leaves its parent: the events are counted.
    let depth = 0;
    const change = (by: number) => (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = Math.max(0, depth + by);
      setOver(depth > 0);
    };
    const onDrop = (event: DragEvent): void => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      setOver(false);
      const files = ggufFiles(event.dataTransfer?.files);
      if (files.length) onFiles(files);
      else toast(t().models.notGguf, { tone: "bad" });
    };
    const listeners = { dragenter: change(1), dragleave: change(-1), dragover: change(0), drop: onDrop };
    const all = Object.entries(listeners) as [keyof typeof listeners, (event: DragEvent) => void][];
    for (const [name, listener] of all) addEventListener(name, listener);
    return () => {
      for (const [name, listener] of all) removeEventListener(name, listener);
    };
  }, [onFiles]);

  return (
    <>
      {children}
      {isOver && (
        <div class="drop-veil">
          <div>
            <Icon of={FileUp} size={36} />
            <strong>{t().models.dropHere}</strong>
          </div>
        </div>
      )}
    </>
  );
}

function hasFiles(event: DragEvent): boolean {
  return event.dataTransfer?.types.includes("Files") ?? false;
}

export function ggufFiles(list: FileList | null | undefined): File[] {
  return [...(list ?? [])].filter((file) => /\.gguf$/i.test(file.name));
}
