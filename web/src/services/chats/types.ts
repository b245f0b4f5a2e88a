/** Chats as they are kept in the browser. Times are milliseconds since 1970. */

export interface ChatSettings {
  model: string;
  system: string;
  /** Empty: as the model does. Otherwise `true`, `false` or an effort like `high`. */
  think: string;
  /** Empty, `json`, or the text of a JSON schema. */
  format: string;
  /** Options of the request, as in `options` of /api/chat. */
  options: Record<string, unknown>;
  /** Ids of the tools that the model may call. */
  tools: string[];
}

export interface Chat {
  id: string;
  title: string;
  createdAt: number;
  updatedAt: number;
  folder: string;
  isPinned: boolean;
  /** The message at the end of the branch that is shown; null in an empty chat. */
  leaf: string | null;
  settings: ChatSettings;
  /** When it was deleted; it is removed for good a little later. */
  deletedAt?: number | undefined;
}

export type AttachmentKind = "image" | "audio" | "text";

export interface Attachment {
  /** Id of the file in the store. */
  id: string;
  kind: AttachmentKind;
  name: string;
  type: string;
  size: number;
}

export interface KeptCall {
  id: string;
  name: string;
  arguments: Record<string, unknown>;
  state: "waiting" | "running" | "done" | "failed";
  result: string;
}

/** Figures of an answer. Times in milliseconds, speeds in tokens a second; what is not known is absent. */
export interface Stats {
  firstTokenMs?: number;
  /** How long it thought, until the first piece of the answer. */
  thinkMs?: number;
  totalMs?: number;
  loadMs?: number;
  promptTokens?: number;
  cachedTokens?: number;
  promptPerS?: number;
  tokens?: number;
  perS?: number;
  /** How many of the oldest messages did not fit into the context. */
  cut?: number;
  /** Size of the context in tokens. */
  context?: number;
  reason?: string;
}

export interface Message {
  id: string;
  chatId: string;
  /** The message before it; several messages with the same one are branches. */
  parentId: string | null;
  role: "user" | "assistant";
  createdAt: number;
  content: string;
  thinking: string;
  attachments: Attachment[];
  calls: KeptCall[];
  /** The model that answered. */
  model: string;
  state: "done" | "streaming" | "stopped" | "failed";
  error: string;
  hint: string;
  isEdited: boolean;
  /** When an unfinished answer was last kept: an old one has no tab any more that writes it. */
  savedAt: number;
  stats: Stats;
}

export interface StoredFile {
  id: string;
  chatId: string;
  blob: Blob;
}

export interface Tool {
  id: string;
  name: string;
  description: string;
  /** JSON schema of the arguments. */
  parameters: Record<string, unknown>;
  /** Where the page asks for the result; empty: the reader answers by hand. */
  url: string;
  /** Whether the reader is asked before the page sends arguments to `url`. */
  asks: boolean;
}
