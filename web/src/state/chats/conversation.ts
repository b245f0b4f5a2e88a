import { computed, signal, type ReadonlySignal, type Signal } from "@preact/signals";

import { Tree } from "../../services/chats/tree";
import type { Attachment, Message } from "../../services/chats/types";
import { newId } from "../../services/ids";
import { changeChat, chatOf } from "./library";
import { holdFile, onChange, store, tell, write } from "./storage";

/** A chat's messages as they are shown. Those of a few chats stay in memory. */
export class Conversation {
  /** null before they were read. */
  readonly tree: Signal<Tree | null> = signal(null);
  readonly error = signal<unknown>(null);
  /** The branch that is shown. */
  readonly path: ReadonlySignal<Message[]>;
  // Ids of messages that the browser had no room for: they exist here alone.
  private readonly unkept = new Set<string>();

  constructor(readonly chatId: string) {
    this.path = computed(() => this.tree.value?.path(chatOf(this.chatId)?.leaf ?? null) ?? []);
  }

  async load(): Promise<void> {
    try {
      const found = await (await store()).messages(this.chatId);
      // What this tab is writing right now is newer than what is stored.
      const mine = this.tree.peek()?.all().filter((each) => live.has(each.id) || this.isUnkept(each)) ?? [];
      this.tree.value = new Tree(new Map([...found, ...mine].map((each) => [each.id, each])).values());
      this.error.value = null;
      for (const each of found) if (each.state === "streaming" && !live.has(each.id)) tell({ kind: "whose", messageId: each.id });
    } catch (error) {
      this.error.value = error;
    }
  }

  /** Show a message here, without keeping it. */
  show(message: Message): void {
    const others = this.tree.peek()?.all().filter((each) => each.id !== message.id) ?? [];
    this.tree.value = new Tree([...others, message]);
  }

  /** Add or replace a message, and keep it. */
  async put(message: Message, files: { id: string; blob: Blob }[] = []): Promise<void> {
    this.show(message);
    const stored = files.map((each) => ({ ...each, chatId: this.chatId }));
    const isKept = await write({ kind: "messages", chatId: this.chatId }, (kept) =>
      kept.add({ messages: [message], files: stored }),
    );
    if (isKept) this.unkept.delete(message.id);
    else this.unkept.add(message.id);
    if (!isKept) for (const each of files) holdFile(each.id, each.blob);
  }

  isUnkept({ id }: Message): boolean {
    return this.unkept.has(id);
  }

  /** Keep a message as it is so far; what is shown does not change. */
  async keep(message: Message): Promise<void> {
    await write({ kind: "messages", chatId: this.chatId }, (kept) => kept.add({ messages: [message] }));
  }

  async select(leaf: string | null): Promise<void> {
    await changeChat(this.chatId, { leaf });
  }

  /** Show the newest branch that goes through a message. */
  async goTo(messageId: string): Promise<void> {
    await this.select(this.tree.peek()?.newestLeaf(messageId) ?? messageId);
  }

  /** Remove a message and all that follows it. */
  async remove(message: Message): Promise<void> {
    const tree = this.tree.peek();
    if (!tree) return;
    const gone = new Set(tree.below(message.id));
    const siblings = tree.siblings(message).filter((each) => each.id !== message.id);
    const nearest = siblings.at(-1)?.id ?? null;
    const rest = new Tree(tree.all().filter((each) => !gone.has(each.id)));
    const leaf = nearest ? rest.newestLeaf(nearest) : message.parentId;
    this.tree.value = rest;
    await this.select(leaf);
    await write({ kind: "messages", chatId: this.chatId }, (kept) => kept.deleteMessages([...gone]));
  }
}

/** Ids of the messages that this tab is writing. */
export const live = new Set<string>();

const MOST_OPEN = 8;
const open = new Map<string, Conversation>();

/** The conversation of a chat; its messages are read if they are not there yet. */
export function conversationOf(chatId: string): Conversation {
  let found = open.get(chatId);
  if (found) {
    open.delete(chatId); // to the end: used last
  } else {
    found = new Conversation(chatId);
    void found.load();
  }
  open.set(chatId, found);
  for (const [id, each] of open) {
    if (open.size <= MOST_OPEN) break;
    if (!each.tree.peek()?.all().some((message) => live.has(message.id) || each.isUnkept(message))) open.delete(id);
  }
  return found;
}

/** All messages of a chat as they are stored, with those that could not be. */
export async function messagesOf(chatId: string): Promise<Message[]> {
  const here = open.get(chatId);
  const shown = here?.tree.peek()?.all() ?? [];
  try {
    const found = await (await store()).messages(chatId);
    return [...new Map([...found, ...shown.filter((each) => here?.isUnkept(each))].map((each) => [each.id, each])).values()];
  } catch {
    return shown; // the database is closed: what is on the screen is all there is
  }
}

/** One that is begun here: there is nothing to read. */
export function beginConversation(chatId: string): Conversation {
  const made = new Conversation(chatId);
  made.tree.value = new Tree([]);
  open.set(chatId, made);
  return made;
}

/** Ids of the messages that other tabs say they are writing. */
export const elsewhere = signal<ReadonlySet<string>>(new Set());

onChange((change) => {
  if (change.kind === "messages") void open.get(change.chatId)?.load();
  if (change.kind === "whose" && live.has(change.messageId)) tell({ kind: "mine", messageId: change.messageId });
  if (change.kind === "mine" && !elsewhere.peek().has(change.messageId)) {
    elsewhere.value = new Set([...elsewhere.peek(), change.messageId]);
  }
});

export function newMessage(
  chatId: string,
  parentId: string | null,
  role: "user" | "assistant",
  content = "",
  attachments: Attachment[] = [],
): Message {
  const now = Date.now();
  return {
    id: newId(),
    chatId,
    parentId,
    role,
    createdAt: now,
    content,
    thinking: "",
    attachments,
    calls: [],
    model: "",
    state: "done",
    error: "",
    hint: "",
    isEdited: false,
    savedAt: now,
    stats: {},
  };
}
