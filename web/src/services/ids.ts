const RANDOM_BYTES = 9;

/** A new id. Later ones sort after earlier ones. `crypto.randomUUID` does not exist without TLS. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(RANDOM_BYTES));
  const random = Array.from(bytes, (each) => each.toString(36).padStart(2, "0")).join("");
  return `${Date.now().toString(36).padStart(9, "0")}${random}`;
}
