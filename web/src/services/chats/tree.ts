import type { Message } from "./types";

/** The messages of a chat by what they follow. */
export class Tree {
  private readonly byId = new Map<string, Message>();
  private readonly following = new Map<string | null, Message[]>();

  constructor(messages: Iterable<Message>) {
    const sorted = [...messages].sort((one, other) => one.createdAt - other.createdAt || (one.id < other.id ? -1 : 1));
    for (const each of sorted) this.byId.set(each.id, each);
    for (const each of sorted) {
      // A message whose predecessor is gone begins a branch, so that it does not vanish.
      const parent = each.parentId !== null && this.byId.has(each.parentId) ? each.parentId : null;
      const list = this.following.get(parent);
      if (list) list.push(each);
      else this.following.set(parent, [each]);
    }
  }

  get(id: string): Message | undefined {
    return this.byId.get(id);
  }

  get size(): number {
    return this.byId.size;
  }

  all(): Message[] {
    return [...this.byId.values()];
  }

  /** From the first message to this one. */
  path(leaf: string | null): Message[] {
    const found: Message[] = [];
    const seen = new Set<string>();
    let at = leaf === null ? undefined : this.byId.get(leaf);
    while (at && !seen.has(at.id)) {
      seen.add(at.id);
      found.push(at);
      at = at.parentId === null ? undefined : this.byId.get(at.parentId);
    }
    return found.reverse();
  }

  /** The message itself and those that stand in its place on other branches, oldest first. */
  siblings(message: Message): Message[] {
    const parent = message.parentId !== null && this.byId.has(message.parentId) ? message.parentId : null;
    return this.following.get(parent) ?? [message];
  }

  /** The end of the newest branch that goes through a message; null: of the whole chat. */
  newestLeaf(from: string | null): string | null {
    let at = from;
    for (;;) {
      const next = this.following.get(at)?.at(-1);
      if (!next) return at;
      at = next.id;
    }
  }

  /** A message and everything that follows it, on all branches. */
  below(id: string): string[] {
    const found: string[] = [];
    const waiting = [id];
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      found.push(at);
      waiting.push(...(this.following.get(at) ?? []).map((each) => each.id));
    }
    return found;
  }
}
