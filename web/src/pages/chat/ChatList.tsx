import { Ellipsis, Folder, Pin, SearchX, SquarePen, X } from "lucide";
import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { IconButton } from "../../components/Button";
import { Icon } from "../../components/Icon";
import { Menu } from "../../components/Menu";
import type { Chat } from "../../services/chats/types";
import { chats, isLibraryReady } from "../../state/chats/library";
import { runsOf } from "../../state/chats/run";
import { searchChats, type Match } from "../../state/chats/search";
import { go, link, route } from "../../state/route";
import { useShortcuts } from "../../state/shortcuts";
import { t } from "../../texts";
import { chatMenuItems } from "./chatmenu";
import { groupsOf, type Group } from "./groups";
import { wantsComposer } from "./open";
import { RenameDialog } from "./RenameDialog";
import "./chatlist.css";

const SEARCH_AFTER_MS = 150;
const SHOWN = 60;

/** The chats in the sidebar, with the search over all of them. */
export function ChatList(): VNode {
  const texts = t().chat;
  const [wanted, setWanted] = useState("");
  const field = useRef<HTMLInputElement>(null);
  useShortcuts([
    { keys: "mod+shift+o", group: "chat", label: (all) => all.chat.shortcutNew, run: begin },
    { keys: "mod+k", group: "chat", label: (all) => all.chat.shortcutSearch, run: () => field.current?.focus() },
  ]);
  return (
    <div class="chat-list" role="region" aria-label={texts.chats}>
      <div class="chat-list-head">
        <a class="button" data-kind="plain" href={link("chat")} onClick={() => (wantsComposer.value += 1)}>
          <Icon of={SquarePen} />
          {texts.newChat}
        </a>
        <div class="chat-search" role="search">
          <input
            ref={field}
            class="input"
            type="text"
            placeholder={texts.search}
            aria-label={texts.search}
            value={wanted}
            onInput={(event) => setWanted(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Escape") setWanted("");
            }}
          />
          {wanted && <IconButton icon={X} size="small" label={texts.clearSearch} onClick={() => setWanted("")} />}
        </div>
      </div>
      {wanted.trim() ? <Matches wanted={wanted} /> : <Groups />}
      <RenameDialog />
    </div>
  );
}

function begin(): void {
  go("chat");
  wantsComposer.value += 1;
}

function Groups(): VNode {
  const groups = groupsOf(chats.value);
  if (chats.value.length === 0) return <p class="chat-list-none">{isLibraryReady.value ? t().chat.noChats : ""}</p>;
  return (
    <>
      {groups.map((each) => (
        <GroupList key={each.id} group={each} />
      ))}
    </>
  );
}

function GroupList({ group }: { group: Group }): VNode {
  const [count, setCount] = useState(SHOWN);
  const more = group.chats.length - count;
  const list = (
    <ul role="list">
      {group.chats.slice(0, count).map((each) => (
        <Item key={each.id} chat={each} />
      ))}
      {more > 0 && (
        <li>
          <button type="button" class="chat-more" onClick={() => setCount(count + 200)}>
            {t().chat.showMore(more)}
          </button>
        </li>
      )}
    </ul>
  );
  if (group.isFolder) {
    return (
      <details class="chat-group" open>
        <summary>
          <Icon of={Folder} size={14} />
          <span dir="auto">{group.label}</span>
        </summary>
        {list}
      </details>
    );
  }
  return (
    <section class="chat-group">
      <h3>
        {group.id === "pinned" && <Icon of={Pin} size={14} />}
        {group.label}
      </h3>
      {list}
    </section>
  );
}

function Item({ chat }: { chat: Chat }): VNode {
  const texts = t().chat;
  const { page, rest } = route.value;
  const isCurrent = (page === "chat" || page === "") && rest[0] === chat.id;
  const isRunning = runsOf(chat.id).length > 0;
  const title = chat.title || texts.untitled;
  return (
    <li class="chat-item" data-current={isCurrent || undefined}>
      <a href={link("chat", chat.id)} aria-current={isCurrent ? "true" : undefined} title={title}>
        <span dir="auto">{title}</span>
      </a>
      {isRunning && (
        <span class="chat-running" title={texts.running}>
          <span class="visually-hidden">{texts.running}</span>
        </span>
      )}
      <Menu
        items={chatMenuItems(chat)}
        button={(props) => <IconButton icon={Ellipsis} size="small" label={texts.chatMenu(title)} {...props} />}
      />
    </li>
  );
}

function Matches({ wanted }: { wanted: string }): VNode {
  const texts = t().chat;
  const [found, setFound] = useState<Match[] | null>(null);
  useEffect(() => {
    let isCurrent = true;
    const timer = setTimeout(() => {
      void searchChats(wanted, () => isCurrent).then((matches) => {
        if (isCurrent) setFound(matches);
      });
    }, SEARCH_AFTER_MS);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [wanted]);
  if (found === null) return <p class="chat-list-none">{texts.searching}</p>;
  if (found.length === 0) {
    return (
      <p class="chat-list-none" role="status">
        <Icon of={SearchX} size={20} />
        {texts.noMatches}
      </p>
    );
  }
  return (
    <ul role="list" class="chat-matches">
      {found.map((each) => (
        <MatchItem key={each.chatId} match={each} />
      ))}
    </ul>
  );
}

function MatchItem({ match }: { match: Match }): VNode {
  const title = chats.value.find((each) => each.id === match.chatId)?.title || t().chat.untitled;
  const target = match.messageId ? link("chat", match.chatId, match.messageId) : link("chat", match.chatId);
  return (
    <li class="chat-item">
      <a href={target}>
        <span dir="auto">{title}</span>
        <small dir="auto">
          {match.before}
          <mark>{match.match}</mark>
          {match.after}
        </small>
      </a>
    </li>
  );
}
