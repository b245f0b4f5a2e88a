import { Keyboard, Moon, PanelLeftClose, Sun } from "lucide";
import type { VNode } from "preact";

import { IconButton } from "../components/Button";
import { Icon } from "../components/Icon";
import { listedPages, PAGES, type Page } from "../pages/table";
import { isDark, theme } from "../state/preferences";
import { link, route } from "../state/route";
import { connection, serverVersion } from "../state/server";
import { t } from "../texts";
import { Brand } from "./Brand";
import { shownPage } from "./CurrentPage";

export function Sidebar({ onHelp, onFold }: { onHelp: () => void; onFold: () => void }): VNode {
  const texts = t().shell;
  const rest = PAGES.filter((each) => each.sidebar);
  return (
    <div class="sidebar">
      <header>
        <a class="brand" href={link(PAGES[0]?.id ?? "")}>
          <Brand />
          Corral
        </a>
        <IconButton icon={PanelLeftClose} label={texts.foldSidebar} onClick={onFold} />
      </header>
      <nav aria-label={texts.mainNavigation}>
        {listedPages().filter((each) => !each.isAtFoot).map((each) => (
          <NavLink key={each.id} page={each} />
        ))}
      </nav>
      <div class="sidebar-rest">{rest.map(({ id, sidebar: Part }) => Part && <Part key={id} />)}</div>
      <nav aria-label={t().pages.settings}>
        {PAGES.filter((each) => each.isAtFoot).map((each) => (
          <NavLink key={each.id} page={each} />
        ))}
      </nav>
      <footer>
        <Status />
        <IconButton
          icon={isDark.value ? Sun : Moon}
          size="small"
          label={isDark.value ? texts.lightTheme : texts.darkTheme}
          onClick={() => (theme.value = isDark.value ? "light" : "dark")}
        />
        <IconButton icon={Keyboard} size="small" label={texts.shortcuts} onClick={onHelp} />
      </footer>
    </div>
  );
}

function NavLink({ page }: { page: Page }): VNode {
  const isCurrent = shownPage() === page;
  const isHere = isCurrent && route.value.rest.length === 0;
  return (
    <a
      class="nav-link"
      href={link(page.id)}
      aria-current={isCurrent ? "page" : undefined}
      data-here={isHere || undefined}
    >
      <Icon of={page.icon} />
      {t().pages[page.id]}
    </a>
  );
}

function Status(): VNode {
  const texts = t().shell;
  const version = serverVersion.known.value.value?.corral_version ?? "";
  const state = connection.value;
  const words = {
    connecting: texts.statusConnecting,
    connected: texts.statusConnected(version),
    offline: texts.statusOffline,
  };
  const tones = { connecting: "wait", connected: "good", offline: "bad" };
  return (
    <span class="status" role="status">
      <span class="dot" data-tone={tones[state]} />
      {words[state]}
    </span>
  );
}
