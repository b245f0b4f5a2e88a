import { Pencil, Plus, Trash2 } from "lucide";
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Button, IconButton } from "../../components/Button";
import { Switch, TextArea, TextField } from "../../components/Fields";
import { shortName } from "../../components/ModelPicker";
import { isRecord } from "../../services/api/errors";
import { urlProblem } from "../../services/chats/toolcall";
import type { ChatSettings, Tool } from "../../services/chats/types";
import { newId } from "../../services/ids";
import { readTools, removeTool, saveTool, tools } from "../../state/chats/tools";
import { t } from "../../texts";
import { useModelFacts } from "./attaching";
import { objectProblem } from "./jsonfields";

interface Props {
  settings: ChatSettings;
  onChange: (part: Partial<ChatSettings>) => void;
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const EXAMPLE = {
  name: "get_weather",
  description: "The weather in a city",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

/** Which tools the model may call in this chat, and the reader's list of tools. */
export function ToolSection({ settings, onChange }: Props): VNode {
  const texts = t().chat;
  const facts = useModelFacts(settings.model);
  const [edited, setEdited] = useState<Tool | null>(null);
  useEffect(() => void readTools(), []);
  const known = tools.value ?? [];

  function use(id: string, isOn: boolean): void {
    const others = settings.tools.filter((each) => each !== id);
    onChange({ tools: isOn ? [...others, id] : others });
  }

  return (
    <section class="settings-section">
      <h3>{texts.tools}</h3>
      <p class="hint">{facts.lacks("tools") ? texts.noToolsModel(shortName(settings.model)) : texts.toolsHint}</p>
      {known.length === 0 && !edited && <p class="hint">{texts.noTools}</p>}
      <ul role="list" class="tool-list">
        {known.map((each) => (
          <li key={each.id}>
            <Switch label={each.name} isOn={settings.tools.includes(each.id)} onChange={(isOn) => use(each.id, isOn)} />
            <IconButton icon={Pencil} size="small" label={`${texts.editTool}: ${each.name}`} onClick={() => setEdited(each)} />
            <IconButton
              icon={Trash2}
              size="small"
              label={`${texts.deleteTool}: ${each.name}`}
              onClick={() => {
                use(each.id, false);
                void removeTool(each.id);
              }}
            />
          </li>
        ))}
      </ul>
      {edited ? (
        <ToolForm
          key={edited.id}
          tool={edited}
          onDone={(saved) => {
            setEdited(null);
            if (saved) use(saved.id, true);
          }}
        />
      ) : (
        <Button size="small" icon={Plus} onClick={() => setEdited({ id: newId(), ...EXAMPLE, url: "", asks: true })}>
          {texts.addTool}
        </Button>
      )}
    </section>
  );
}

function ToolForm({ tool, onDone }: { tool: Tool; onDone: (saved: Tool | null) => void }): VNode {
  const texts = t().chat;
  const { name, description, parameters } = tool;
  const [json, setJson] = useState(JSON.stringify({ name, description, parameters }, null, 2));
  const [url, setUrl] = useState(tool.url);
  const [asks, setAsks] = useState(tool.asks);
  const [problem, setProblem] = useState("");
  const [badUrl, setBadUrl] = useState("");

  async function save(): Promise<void> {
    const found = readDefinition(json, tool.id);
    const wrong = url.trim() ? await urlProblem(url.trim()) : "";
    setProblem(typeof found === "string" ? found : "");
    setBadUrl(wrong);
    if (typeof found === "string" || wrong) return;
    const saved: Tool = { id: tool.id, ...found, url: url.trim(), asks };
    await saveTool(saved);
    onDone(saved);
  }

  return (
    <div class="tool-form">
      <TextArea label={texts.toolJson} hint={texts.toolJsonHint} problem={problem} isCode rows={10} value={json} onText={setJson} />
      <TextField label={texts.toolUrl} hint={texts.toolUrlHint} problem={badUrl} dir="ltr" value={url} onText={setUrl} />
      {url.trim() && <Switch label={texts.toolAsks} isOn={asks} onChange={setAsks} />}
      <div class="edit-actions">
        <Button size="small" onClick={() => onDone(null)}>
          {t().common.cancel}
        </Button>
        <Button size="small" kind="primary" onClick={() => void save()}>
          {t().common.save}
        </Button>
      </div>
    </div>
  );
}

/** The definition in a text, also in the form of the API (`{"type": "function", "function": …}`); or what is wrong with it. */
function readDefinition(json: string, id: string): Pick<Tool, "name" | "description" | "parameters"> | string {
  const texts = t().chat;
  const wrong = objectProblem(json);
  if (wrong) return wrong;
  const value = JSON.parse(json) as Record<string, unknown>;
  const given = isRecord(value["function"]) ? value["function"] : value;
  const { name, description, parameters } = given;
  if (typeof name !== "string" || !NAME.test(name)) return texts.toolName;
  if ((tools.peek() ?? []).some((each) => each.name === name && each.id !== id)) return texts.toolTwice(name);
  return {
    name,
    description: typeof description === "string" ? description : "",
    parameters: isRecord(parameters) ? parameters : { type: "object", properties: {} },
  };
}
