import { Boxes, FilePlus, SearchX, Upload } from "lucide";
import type { VNode } from "preact";
import { useRef, useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { capabilityName } from "../../components/Capabilities";
import { SelectField, TextField } from "../../components/Fields";
import { bytes } from "../../components/format";
import { Empty, ErrorNotice, Skeleton } from "../../components/States";
import type { ModelEntry } from "../../services/api/types";
import { models } from "../../state/server";
import { startPull } from "../../state/transfers/pulls";
import { t } from "../../texts";
import { CopyDialog } from "./CopyDialog";
import { CreateDialog } from "./CreateDialog";
import { DropArea, ggufFiles } from "./DropArea";
import { capabilitiesOf, listed, type Listing, type SortBy } from "./listing";
import { ModelTable } from "./ModelTable";
import { PullForm } from "./PullForm";
import { Transfers } from "./Transfers";
import { UploadDialog } from "./UploadDialog";

type Open = { kind: "create"; start: string } | { kind: "upload"; files: File[] } | { kind: "copy"; source: string };

const FIRST_MODELFILE = 'FROM corral-tiny\nPARAMETER temperature 0.7\nSYSTEM """\n\n"""\n';

export function ModelList(): VNode {
  const texts = t().models;
  const { value, error } = models.known.value;
  const [open, setOpen] = useState<Open | null>(null);
  const [takeFiles] = useState(() => (files: File[]) => setOpen({ kind: "upload", files }));
  const chooser = useRef<HTMLInputElement>(null);
  const total = value?.reduce((sum, each) => sum + each.size, 0) ?? 0;

  return (
    <DropArea onFiles={takeFiles}>
      <div class="page-head">
        <div>
          <h1 class="page-title">{t().pages.models}</h1>
          <p role="status">{value?.length ? texts.summary(value.length, bytes(total)) : texts.intro}</p>
        </div>
        <div class="actions">
          <Button icon={Upload} onClick={() => chooser.current?.click()}>
            {texts.upload}
          </Button>
          <Button icon={FilePlus} onClick={() => setOpen({ kind: "create", start: FIRST_MODELFILE })}>
            {texts.create}
          </Button>
          <input
            ref={chooser}
            type="file"
            accept=".gguf"
            multiple
            hidden
            aria-label={texts.upload}
            onChange={(event) => {
              const files = ggufFiles(event.currentTarget.files);
              event.currentTarget.value = "";
              if (files.length) takeFiles(files);
            }}
          />
        </div>
      </div>
      <PullForm />
      <Transfers />
      {error !== null && <ErrorNotice error={error} onRetry={() => void models.refresh()} />}
      {value ? (
        <Shown
          all={value}
          onCopy={(model) => setOpen({ kind: "copy", source: model.name })}
          onExtend={(model) => setOpen({ kind: "create", start: `FROM ${model.name}\nSYSTEM """\n\n"""\n` })}
        />
      ) : (
        error === null && <Skeleton lines={[100, 100, 100, 100]} />
      )}
      {open?.kind === "create" && <CreateDialog start={open.start} onClose={() => setOpen(null)} />}
      {open?.kind === "upload" && <UploadDialog files={open.files} onClose={() => setOpen(null)} />}
      {open?.kind === "copy" && <CopyDialog source={open.source} onClose={() => setOpen(null)} />}
    </DropArea>
  );
}

interface ShownProps {
  all: readonly ModelEntry[];
  onCopy: (model: ModelEntry) => void;
  onExtend: (model: ModelEntry) => void;
}

const FIRST: Listing = { text: "", capability: "", by: "modified", isDescending: true };

function Shown({ all, onCopy, onExtend }: ShownProps): VNode {
  const texts = t().models;
  const [listing, setListing] = useState(FIRST);
  const found = listed(all, listing);

  if (all.length === 0) {
    return (
      <Empty
        icon={Boxes}
        title={texts.none}
        actions={<Button onClick={() => startPull("corral-tiny", false)}>{texts.tryTiny}</Button>}
      >
        {texts.noneHint}
      </Empty>
    );
  }

  function sort(by: SortBy): void {
    const isDescending = by === listing.by ? !listing.isDescending : by !== "name";
    setListing({ ...listing, by, isDescending });
  }

  return (
    <>
      <Filters all={all} listing={listing} onChange={setListing} />
      {found.length ? (
        <ModelTable
          models={found}
          by={listing.by}
          isDescending={listing.isDescending}
          onSort={sort}
          onCopy={onCopy}
          onExtend={onExtend}
        />
      ) : (
        <Empty
          icon={SearchX}
          title={texts.noMatch}
          actions={<Button onClick={() => setListing(FIRST)}>{texts.showAll}</Button>}
        />
      )}
      <span class="visually-hidden" role="status">
        {texts.shown(found.length, all.length)}
      </span>
    </>
  );
}

interface FilterProps {
  all: readonly ModelEntry[];
  listing: Listing;
  onChange: (listing: Listing) => void;
}

function Filters({ all, listing, onChange }: FilterProps): VNode {
  const texts = t().models;
  const capabilities: [string, string][] = capabilitiesOf(all).map((each) => [each, capabilityName(each)]);
  const sorts: [SortBy, string][] = [
    ["modified", texts.modified],
    ["name", texts.name],
    ["size", texts.size],
    ["parameters", texts.parameterSize],
    ["context", texts.context],
  ];
  return (
    <div class="models-filters" role="group" aria-label={texts.filters}>
      <TextField
        label={t().common.search}
        type="search"
        value={listing.text}
        onText={(text) => onChange({ ...listing, text })}
      />
      <SelectField
        label={texts.capability}
        value={listing.capability}
        options={[["", texts.anyCapability], ...capabilities]}
        onText={(capability) => onChange({ ...listing, capability })}
      />
      <SelectField
        label={texts.sort}
        value={listing.by}
        options={sorts}
        onText={(by) => onChange({ ...listing, by: by as SortBy, isDescending: by !== "name" })}
      />
    </div>
  );
}
