import { Ellipsis, SlidersHorizontal } from "lucide";
import type { VNode } from "preact";

import { IconButton } from "../../components/Button";
import { Menu } from "../../components/Menu";
import { ModelPicker } from "../../components/ModelPicker";
import type { Chat, ChatSettings } from "../../services/chats/types";
import { t } from "../../texts";
import { chatMenuItems } from "./chatmenu";
import { ChatSettingsDialog } from "./ChatSettingsDialog";
import { isSettingsOpen } from "./open";

interface Props {
  chat: Chat | null;
  settings: ChatSettings;
  onChange: (part: Partial<ChatSettings>) => void;
}

export function ChatHead({ chat, settings, onChange }: Props): VNode {
  const texts = t().chat;
  return (
    <div class="chat-head">
      <ModelPicker value={settings.model} onChoose={(model) => onChange({ model })} />
      {chat ? (
        <h1 class="chat-title" dir="auto">
          {chat.title || texts.untitled}
        </h1>
      ) : (
        <span class="chat-title" />
      )}
      <div class="chat-head-tools">
        <IconButton icon={SlidersHorizontal} label={texts.settings} onClick={() => (isSettingsOpen.value = true)} />
        {chat && (
          <Menu
            items={chatMenuItems(chat)}
            button={(props) => <IconButton icon={Ellipsis} label={texts.chatMenu(chat.title || texts.untitled)} {...props} />}
          />
        )}
      </div>
      {isSettingsOpen.value && (
        <ChatSettingsDialog settings={settings} onChange={onChange} onClose={() => (isSettingsOpen.value = false)} />
      )}
    </div>
  );
}
