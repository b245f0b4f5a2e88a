import { AudioLines, FileText, ImageOff, X } from "lucide";
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import { IconButton } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { bytes } from "../../components/format";
import { Icon } from "../../components/Icon";
import type { Attachment } from "../../services/chats/types";
import { fileOf } from "../../state/chats/storage";
import { t } from "../../texts";

interface Props {
  list: readonly Attachment[];
  /** Files that are not stored yet. */
  blobs?: ReadonlyMap<string, Blob>;
  onRemove?: (id: string) => void;
}

export function Attachments({ list, blobs, onRemove }: Props): VNode {
  return (
    <ul class="attachments" role="list" aria-label={t().chat.attachments}>
      {list.map((each) => (
        <li key={each.id} data-kind={each.kind}>
          <One attachment={each} blob={blobs?.get(each.id)} />
          {onRemove && (
            <IconButton
              icon={X}
              size="small"
              kind="plain"
              class="attachment-remove"
              label={t().chat.removeFile(each.name)}
              onClick={() => onRemove(each.id)}
            />
          )}
        </li>
      ))}
    </ul>
  );
}

/** An address for a file; empty until it is read, null if it is gone. */
function useAddress(id: string | null, given: Blob | undefined): string | null {
  const [url, setUrl] = useState<string | null>("");
  useEffect(() => {
    let made = "";
    let isOver = false;
    if (id === null) return;
    void (async () => {
      const blob = given ?? (await fileOf(id));
      if (isOver) return;
      if (blob) made = URL.createObjectURL(blob);
      setUrl(blob ? made : null);
    })();
    return () => {
      isOver = true;
      if (made) URL.revokeObjectURL(made);
    };
  }, [id, given]);
  return url;
}

function One({ attachment, blob }: { attachment: Attachment; blob: Blob | undefined }): VNode {
  const { kind, name, size, id } = attachment;
  const url = useAddress(kind === "text" ? null : id, blob);
  if (kind === "image") return <Image name={name} url={url} />;
  return (
    <div class="attachment-file" title={url === null ? t().chat.fileGone : name}>
      <Icon of={kind === "audio" ? AudioLines : FileText} />
      <span>
        <span class="attachment-name" dir="auto">
          {name}
        </span>
        <span class="attachment-size">{bytes(size)}</span>
      </span>
      {kind === "audio" && url && <audio controls preload="metadata" src={url} />}
    </div>
  );
}

function Image({ name, url }: { name: string; url: string | null }): VNode {
  const [isOpen, setOpen] = useState(false);
  if (url === null) {
    return (
      <div class="attachment-file" title={t().chat.fileGone}>
        <Icon of={ImageOff} />
        <span class="attachment-name">{name}</span>
      </div>
    );
  }
  return (
    <>
      <button type="button" class="attachment-image" aria-label={t().chat.openImage(name)} onClick={() => setOpen(true)}>
        {url && <img src={url} alt={name} />}
      </button>
      {isOpen && (
        <Dialog title={name} isWide onClose={() => setOpen(false)}>
          <img src={url} alt={name} class="attachment-large" />
        </Dialog>
      )}
    </>
  );
}
