import { render } from "preact";

import { App } from "./app/App";
import { startLibrary } from "./state/chats/library";
import { startPreferences } from "./state/preferences";
import { startShortcuts } from "./state/shortcuts";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/components.css";
import "./styles/shell.css";

async function start(): Promise<void> {
  await startPreferences();
  startShortcuts();
  void startLibrary();
  const root = document.getElementById("app");
  if (root) render(<App />, root);
}

void start();
