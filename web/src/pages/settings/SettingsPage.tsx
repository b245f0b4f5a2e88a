import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { Button } from "../../components/Button";
import { confirm } from "../../components/Confirm";
import { Choice, SelectField } from "../../components/Fields";
import { address } from "../../services/api/client";
import { messageOf } from "../../services/api/errors";
import { chats, deleteAllChats } from "../../state/chats/library";
import { exportJson, importChats } from "../../state/chats/transfer";
import { chooseLanguage, chosenLanguage, theme, type Theme } from "../../state/preferences";
import { serverVersion } from "../../state/server";
import { apiKey, forgetKey, keyQuestion } from "../../state/session";
import { toast } from "../../state/toasts";
import { isLanguage, LANGUAGES, t } from "../../texts";
import "./settings.css";

export default function SettingsPage(): VNode {
  return (
    <div class="page">
      <div class="page-inner" data-narrow>
        <div class="page-head">
          <div>
            <h1 class="page-title">{t().pages.settings}</h1>
            <p>{t().settings.intro}</p>
          </div>
        </div>
        <Appearance />
        <Access />
        <Chats />
        <About />
      </div>
    </div>
  );
}

function Appearance(): VNode {
  const texts = t().settings;
  const themes: [Theme, string][] = [
    ["system", texts.themeSystem],
    ["light", texts.themeLight],
    ["dark", texts.themeDark],
  ];
  const languages: [string, string][] = [["system", texts.languageSystem], ...Object.entries(LANGUAGES)];
  return (
    <section class="card settings-card">
      <h2>{texts.appearance}</h2>
      <div class="field">
        <span class="field-label">{texts.theme}</span>
        <Choice label={texts.theme} value={theme.value} options={themes} onChoose={(value) => (theme.value = value)} />
      </div>
      <SelectField
        label={texts.language}
        value={chosenLanguage.value}
        options={languages}
        onText={(value) => void chooseLanguage(isLanguage(value) ? value : "system")}
      />
    </section>
  );
}

function Access(): VNode {
  const texts = t().settings;
  const key = apiKey.value;
  return (
    <section class="card settings-card">
      <h2>{texts.access}</h2>
      <div class="field">
        <span class="field-label">{texts.key}</span>
        <span class="hint">{key ? texts.keySet(key.slice(-4)) : texts.keyNone}</span>
      </div>
      <div class="settings-row">
        <Button onClick={() => (keyQuestion.value = "wanted")}>{key ? texts.keyChange : texts.keyEnter}</Button>
        {key && (
          <Button kind="quiet" onClick={forgetKey}>
            {texts.keyForget}
          </Button>
        )}
      </div>
    </section>
  );
}

function Chats(): VNode {
  const texts = t().chat;
  const picker = useRef<HTMLInputElement>(null);
  const hasChats = chats.value.length > 0;
  return (
    <section class="card settings-card">
      <h2>{texts.manage}</h2>
      <p class="settings-hint">{texts.manageHint}</p>
      <div class="settings-row">
        <Button disabled={!hasChats} onClick={() => void exportJson()}>
          {texts.exportAll}
        </Button>
        <Button onClick={() => picker.current?.click()}>{texts.importChats}</Button>
        <Button kind="danger" disabled={!hasChats} onClick={() => void removeAll()}>
          {texts.deleteAll}
        </Button>
        <input
          ref={picker}
          type="file"
          hidden
          accept="application/json,.json"
          aria-label={texts.importChats}
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            event.currentTarget.value = "";
            if (file) void takeIn(file);
          }}
        />
      </div>
    </section>
  );
}

async function takeIn(file: File): Promise<void> {
  try {
    toast(t().chat.imported(await importChats(file)), { tone: "good" });
  } catch (error) {
    toast(t().chat.importFailed, { tone: "bad", hint: messageOf(error) });
  }
}

async function removeAll(): Promise<void> {
  const texts = t().chat;
  if (await confirm(texts.deleteAll, texts.deleteAllText, t().common.delete)) await deleteAllChats();
}

function About(): VNode {
  const texts = t().settings;
  const known = serverVersion.known.value.value;
  useEffect(() => void serverVersion.refresh(), []);
  return (
    <section class="card settings-card">
      <h2>{texts.about}</h2>
      <dl class="facts">
        <dt>{texts.version}</dt>
        <dd>{known ? `Corral ${known.corral_version ?? ""}` : "…"}</dd>
        <dt>{texts.api}</dt>
        <dd>{known ? texts.apiOf(known.version) : "…"}</dd>
      </dl>
      <div class="settings-row">
        <a href={address("/docs")} target="_blank" rel="noreferrer">
          {texts.docs}
        </a>
        <a href="./licences.txt" target="_blank" rel="noreferrer">
          {texts.licences}
        </a>
      </div>
    </section>
  );
}
