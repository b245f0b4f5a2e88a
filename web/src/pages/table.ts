import { Activity, Boxes, FlaskConical, GitCompareArrows, KeyRound, MessagesSquare, Settings, type IconNode } from "lucide";
import type { ComponentType } from "preact";

import { mayBeAdmin } from "../state/access";
import type { Texts } from "../texts";
import { ChatList } from "./chat/ChatList";

/** A page: an entry here is all that the shell knows of it. */
export interface Page {
  /** First part of the address (`#/models`), and the name of its text in `pages`. */
  id: keyof Texts["pages"];
  icon: IconNode;
  /** Its second key after `g`. */
  key: string;
  /** Loaded when the page is first opened, so that no page costs the others anything. */
  load: () => Promise<{ default: ComponentType }>;
  /** Shown in the sidebar below the navigation, on every page. */
  sidebar?: ComponentType;
  /** Whether it is in the navigation now; missing: always. Its address works anyway. */
  isListed?: () => boolean;
  /** At the foot of the sidebar instead of in the navigation. */
  isAtFoot?: boolean;
  /** Its head is the bar of narrow screens, with room for the button of the menu (`--bar-start`). */
  hasBar?: boolean;
}

/** In the order of the navigation. The first one is where the reader begins. */
export const PAGES: readonly Page[] = [
  { id: "chat", icon: MessagesSquare, key: "c", load: () => import("./chat/ChatPage"), sidebar: ChatList, hasBar: true },
  { id: "compare", icon: GitCompareArrows, key: "v", load: () => import("./compare/ComparePage") },
  { id: "models", icon: Boxes, key: "m", load: () => import("./models/ModelsPage") },
  { id: "running", icon: Activity, key: "r", load: () => import("./running/RunningPage") },
  { id: "playground", icon: FlaskConical, key: "p", load: () => import("./playground/PlaygroundPage") },
  { id: "admin", icon: KeyRound, key: "a", load: () => import("./admin/AdminPage"), isListed: () => mayBeAdmin.value },
  { id: "settings", icon: Settings, key: "s", load: () => import("./settings/SettingsPage"), isAtFoot: true },
];

export function listedPages(): Page[] {
  return PAGES.filter((each) => each.isListed?.() ?? true);
}

export function findPage(id: string): Page | undefined {
  return PAGES.find((each) => each.id === id);
}
