import { Compass, Menu as MenuIcon, PanelLeft } from "lucide";
import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { signal } from "@preact/signals";

import { Button, IconButton } from "../components/Button";
import { ConfirmHost } from "../components/Confirm";
import { Empty } from "../components/States";
import { Toasts } from "../components/Toasts";
import { listedPages, PAGES } from "../pages/table";
import { isFolded } from "../state/preferences";
import { go, route } from "../state/route";
import { serverVersion } from "../state/server";
import { hasWanted } from "../state/transfers/wanted";
import { keyQuestion } from "../state/session";
import { useShortcuts, type Shortcut } from "../state/shortcuts";
import { t } from "../texts";
import { KeyDialog } from "./KeyDialog";
import { CurrentPage, shownPage } from "./CurrentPage";
import { ShortcutsDialog } from "./ShortcutsDialog";
import { Sidebar } from "./Sidebar";

const VERSION_EVERY_MS = 20_000;
/** Whether the drawer of narrow screens is open. */
const isDrawerOpen = signal(false);
const isHelpOpen = signal(false);

export function App(): VNode {
  const main = useRef<HTMLElement>(null);
  const page = shownPage();
  const title = page ? t().pages[page.id] : t().shell.notFound;
  useEffect(() => serverVersion.poll(VERSION_EVERY_MS), []);
  useEffect(() => void goOnPulling(), []);
  useEffect(() => {
    document.title = `${title} · Corral`;
  }, [title]);
  useDrawer(main);
  useShortcuts(general());

  return (
    <div class="shell" data-folded={isFolded.value || undefined} data-drawer={isDrawerOpen.value || undefined} data-bar={page?.hasBar ? "own" : undefined}>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        {t().shell.skip}
      </a>
      <Sidebar onHelp={() => (isHelpOpen.value = true)} onFold={fold} />
      <button
        type="button"
        class="veil"
        tabIndex={-1}
        aria-label={t().shell.closeMenu}
        onClick={() => (isDrawerOpen.value = false)}
      />
      <div class="main">
        <header class="topbar">
          <IconButton
            icon={isFolded.value ? PanelLeft : MenuIcon}
            label={t().shell.openMenu}
            aria-expanded={isDrawerOpen.value}
            onClick={unfold}
          />
          <strong>{title}</strong>
        </header>
        <main ref={main} id="main" tabIndex={-1}>
          {page ? <CurrentPage page={page} /> : <NotFound />}
        </main>
      </div>
      {keyQuestion.value && <KeyDialog question={keyQuestion.value} />}
      {isHelpOpen.value && <ShortcutsDialog onClose={() => (isHelpOpen.value = false)} />}
      <ConfirmHost />
      <Toasts />
    </div>
  );
}

/** A pull that was under way goes on, whichever page is opened. */
async function goOnPulling(): Promise<void> {
  if (hasWanted()) (await import("../state/transfers/pulls")).startPulls();
}

function isNarrow(): boolean {
  return matchMedia("(max-width: 56rem)").matches;
}

function fold(): void {
  if (isNarrow()) isDrawerOpen.value = false;
  else isFolded.value = true;
}

function unfold(): void {
  if (isNarrow()) isDrawerOpen.value = true;
  else isFolded.value = false;
}

/** The drawer closes with Escape, and when another page is opened. */
function useDrawer(main: { current: HTMLElement | null }): void {
  const place = route.value;
  const [first] = useState(place);
  useEffect(() => {
    if (place !== first && isDrawerOpen.peek()) {
      isDrawerOpen.value = false;
      main.current?.focus();
    }
  }, [place]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === "Escape") isDrawerOpen.value = false;
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

function general(): Shortcut[] {
  const pages = listedPages().map(
    (each): Shortcut => ({
      keys: `g ${each.key}`,
      group: "general",
      label: (texts) => texts.shortcuts.goTo(texts.pages[each.id]),
      run: () => go(each.id),
    }),
  );
  return [
    { keys: "?", group: "general", label: (texts) => texts.shortcuts.help, run: () => (isHelpOpen.value = true) },
    {
      keys: "mod+b",
      group: "general",
      label: (texts) => texts.shortcuts.sidebar,
      run: () => (isFolded.value || (isNarrow() && !isDrawerOpen.value) ? unfold() : fold()),
    },
    ...pages,
  ];
}

function NotFound(): VNode {
  return (
    <Empty
      icon={Compass}
      title={t().shell.notFound}
      actions={
        <Button kind="primary" onClick={() => go(PAGES[0]?.id ?? "")}>
          {t().shell.toStart}
        </Button>
      }
    >
      {t().shell.notFoundHint}
    </Empty>
  );
}
