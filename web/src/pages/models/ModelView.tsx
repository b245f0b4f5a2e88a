import { ArrowLeft, Copy, FilePen, PackageX, Trash2 } from "lucide";
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { Capabilities } from "../../components/Capabilities";
import { CopyButton } from "../../components/CopyButton";
import { Choice } from "../../components/Fields";
import { Icon } from "../../components/Icon";
import { Name } from "../../components/Name";
import { Empty, ErrorNotice, Skeleton } from "../../components/States";
import type { ModelEntry, ShownModel } from "../../services/api/types";
import { link, replace } from "../../state/route";
import { detailsOf, models } from "../../state/server";
import { t } from "../../texts";
import { askAndDelete } from "./actions";
import { CopyDialog } from "./CopyDialog";
import { CreateDialog } from "./CreateDialog";
import { Facts, Metadata, Parameters, Tensors, Text } from "./ModelParts";

/** Everything that the server says of a model. */
export function ModelView({ name }: { name: string }): VNode {
  const texts = t().models;
  const { value, error } = models.known.value;
  const model = value?.find((each) => each.name === name || each.name === `${name}:latest`);
  return (
    <>
      <a class="back" href={link("models")}>
        <Icon of={ArrowLeft} size={16} />
        {texts.backToAll}
      </a>
      {model ? (
        <Loaded key={model.digest} model={model} />
      ) : error !== null ? (
        <ErrorNotice error={error} onRetry={() => void models.refresh()} />
      ) : value ? (
        <Empty icon={PackageX} title={texts.gone}>
          {texts.goneHint}
        </Empty>
      ) : (
        <Skeleton lines={[40, 100, 100, 80]} />
      )}
    </>
  );
}

function Loaded({ model }: { model: ModelEntry }): VNode {
  const texts = t().models;
  const details = detailsOf(model);
  const { value, error } = details.known.value;
  const [open, setOpen] = useState<"copy" | "create" | null>(null);
  useEffect(() => {
    if (details.known.peek().error !== null) void details.refresh();
  }, []);
  return (
    <>
      <div class="page-head">
        <div>
          <h1 class="model-title">
            <Name of={model.name} />
            <CopyButton text={model.name} label={texts.copyName} />
          </h1>
          <Capabilities of={value?.capabilities ?? model.capabilities} />
        </div>
        <div class="actions">
          <Button icon={Copy} onClick={() => setOpen("copy")}>
            {texts.copy}
          </Button>
          <Button icon={FilePen} onClick={() => setOpen("create")}>
            {texts.extend}
          </Button>
          <Button icon={Trash2} kind="danger" onClick={() => void remove(model)}>
            {t().common.delete}
          </Button>
        </div>
      </div>
      <Facts model={model} shown={value} />
      {error !== null && <ErrorNotice error={error} onRetry={() => void details.refresh()} />}
      {value ? <Sections model={model} shown={value} /> : error === null && <Skeleton />}
      {open === "copy" && <CopyDialog source={model.name} onClose={() => setOpen(null)} />}
      {open === "create" && (
        <CreateDialog start={`FROM ${model.name}\nSYSTEM """\n\n"""\n`} onClose={() => setOpen(null)} />
      )}
    </>
  );
}

async function remove(model: ModelEntry): Promise<void> {
  if (await askAndDelete(model)) replace("models");
}

type Section = "parameters" | "template" | "system" | "license" | "modelfile" | "metadata" | "tensors";

function Sections({ model, shown }: { model: ModelEntry; shown: ShownModel }): VNode {
  const texts = t().models.sections;
  const all: [Section, boolean][] = [
    ["parameters", Boolean(shown.parameters)],
    ["system", Boolean(shown.system)],
    ["template", Boolean(shown.template)],
    ["license", Boolean(shown.license)],
    ["modelfile", Boolean(shown.modelfile)],
    ["metadata", true],
    ["tensors", true],
  ];
  const there = all.filter(([, isThere]) => isThere).map(([each]) => each);
  const [chosen, setChosen] = useState<Section>(there[0] ?? "metadata");
  return (
    <section class="model-sections" aria-label={t().common.details}>
      <Choice
        label={t().common.details}
        value={chosen}
        options={there.map((each) => [each, texts[each]] as const)}
        onChoose={setChosen}
      />
      {chosen === "parameters" && <Parameters text={shown.parameters ?? ""} />}
      {chosen === "system" && <Text text={shown.system ?? ""} isCode={false} />}
      {chosen === "template" && <Text text={shown.template ?? ""} />}
      {chosen === "license" && <Text text={shown.license ?? ""} isCode={false} />}
      {chosen === "modelfile" && <Text text={shown.modelfile ?? ""} />}
      {chosen === "metadata" && <Metadata of={shown.model_info} />}
      {chosen === "tensors" && <Tensors model={model.name} />}
    </section>
  );
}
