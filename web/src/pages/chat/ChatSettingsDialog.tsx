import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { Choice, SelectField, TextArea } from "../../components/Fields";
import { ModelPicker } from "../../components/ModelPicker";
import type { ChatSettings } from "../../services/chats/types";
import { keepAsDefault } from "../../state/chats/library";
import { toast } from "../../state/toasts";
import { t } from "../../texts";
import { useModelFacts } from "./attaching";
import { objectProblem } from "./jsonfields";
import { OptionFields } from "./OptionFields";
import { ToolSection } from "./ToolSection";

interface Props {
  settings: ChatSettings;
  onChange: (part: Partial<ChatSettings>) => void;
  onClose: () => void;
}

/** Everything that a chat sends besides its messages. Each change holds at once, for the next answer. */
export function ChatSettingsDialog({ settings, onChange, onClose }: Props): VNode {
  const texts = t().chat;
  const plain = { system: "", think: "", format: "", options: {}, tools: [] };
  // Fields with drafts of their own are made anew when everything is reset.
  const [serial, setSerial] = useState(0);
  return (
    <Dialog
      title={texts.settings}
      isWide
      onClose={onClose}
      footer={
        <>
          <Button
            kind="quiet"
            onClick={() => {
              onChange(plain);
              setSerial(serial + 1);
            }}
          >
            {texts.reset}
          </Button>
          <Button
            onClick={() => {
              keepAsDefault(settings);
              toast(texts.asDefaultDone, { tone: "good" });
            }}
          >
            {texts.asDefault}
          </Button>
          <Button kind="primary" onClick={onClose}>
            {t().common.ok}
          </Button>
        </>
      }
    >
      <div class="field">
        <span class="field-label">{texts.model}</span>
        <ModelPicker isPlain value={settings.model} onChoose={(model) => onChange({ model })} />
      </div>
      <TextArea
        label={texts.system}
        hint={texts.systemHint}
        value={settings.system}
        rows={4}
        onText={(system) => onChange({ system })}
      />
      <ThinkField settings={settings} onChange={onChange} />
      <FormatField key={`format${serial}`} settings={settings} onChange={onChange} />
      <OptionFields key={`options${serial}`} options={settings.options} onChange={(options) => onChange({ options })} />
      <ToolSection settings={settings} onChange={onChange} />
    </Dialog>
  );
}

function ThinkField({ settings, onChange }: Omit<Props, "onClose">): VNode | null {
  const texts = t().chat;
  const facts = useModelFacts(settings.model);
  if (!facts.has("thinking") && settings.think === "") return null;
  return (
    <SelectField
      label={texts.thinkLabel}
      value={settings.think}
      options={[
        ["", texts.thinkDefault],
        ["true", texts.thinkOn],
        ["false", texts.thinkOff],
        ["low", texts.thinkLow],
        ["medium", texts.thinkMedium],
        ["high", texts.thinkHigh],
      ]}
      onText={(think) => onChange({ think })}
    />
  );
}

type FormatKind = "text" | "json" | "schema";

function FormatField({ settings, onChange }: Omit<Props, "onClose">): VNode {
  const texts = t().chat;
  const given = settings.format;
  const [kind, setKind] = useState<FormatKind>(given === "" ? "text" : given === "json" ? "json" : "schema");
  const [schema, setSchema] = useState(kind === "schema" ? given : "");
  const problem = kind === "schema" && schema.trim() ? objectProblem(schema) : "";

  function choose(next: FormatKind): void {
    setKind(next);
    onChange({ format: next === "text" ? "" : next === "json" ? "json" : objectProblem(schema) ? "" : schema });
  }

  return (
    <div class="field">
      <span class="field-label">{texts.format}</span>
      <Choice
        label={texts.format}
        value={kind}
        options={[
          ["text", texts.formatText],
          ["json", texts.formatJson],
          ["schema", texts.formatSchema],
        ]}
        onChoose={choose}
      />
      {kind === "schema" && (
        <TextArea
          label={texts.schema}
          hint={texts.schemaHint}
          problem={problem}
          isCode
          rows={6}
          value={schema}
          placeholder={'{"type": "object", "properties": {"name": {"type": "string"}}}'}
          onText={(text) => {
            setSchema(text);
            // What is not valid yet is not sent.
            onChange({ format: objectProblem(text) ? "" : text });
          }}
        />
      )}
    </div>
  );
}
