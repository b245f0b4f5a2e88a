import type { ChatStore } from "./store";
import type { Chat, Message, StoredFile, Tool } from "./types";

/** Chats for as long as the tab is open, where the browser keeps nothing. */
export class MemoryStore implements ChatStore {
  readonly isLasting = false;
  private readonly kept = {
    chats: new Map<string, Chat>(),
    messages: new Map<string, Message>(),
    files: new Map<string, StoredFile>(),
    tools: new Map<string, Tool>(),
  };

  async chats(): Promise<Chat[]> {
    return [...this.kept.chats.values()];
  }

  async messages(chatId: string): Promise<Message[]> {
    return [...this.kept.messages.values()].filter((each) => each.chatId === chatId);
  }

  async file(id: string): Promise<Blob | null> {
    return this.kept.files.get(id)?.blob ?? null;
  }

  async tools(): Promise<Tool[]> {
    return [...this.kept.tools.values()];
  }

  async scan(look: (messages: Message[]) => boolean): Promise<void> {
    look([...this.kept.messages.values()]);
  }

  async patchChat(id: string, change: Partial<Chat>): Promise<void> {
    const known = this.kept.chats.get(id);
    if (known) this.kept.chats.set(id, { ...known, ...change });
  }

  async add({ chat, messages = [], files = [] }: Parameters<ChatStore["add"]>[0]): Promise<void> {
    if (chat) this.kept.chats.set(chat.id, chat);
    for (const each of messages) this.kept.messages.set(each.id, each);
    for (const each of files) this.kept.files.set(each.id, each);
  }

  async putTool(tool: Tool): Promise<void> {
    this.kept.tools.set(tool.id, tool);
  }

  async deleteTool(id: string): Promise<void> {
    this.kept.tools.delete(id);
  }

  async deleteMessages(ids: string[]): Promise<void> {
    for (const id of ids) this.kept.messages.delete(id);
  }

  async deleteChat(id: string): Promise<void> {
    this.kept.chats.delete(id);
    for (const kind of [this.kept.messages, this.kept.files]) {
      for (const each of kind.values()) if (each.chatId === id) kind.delete(each.id);
    }
  }
}
