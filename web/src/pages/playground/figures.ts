/** Figures of vectors, probabilities and tokens. No screen in here. */

/** How alike two vectors are, from -1 to 1; 0 if one of them has no length. */
export function cosine(one: readonly number[], other: readonly number[]): number {
  let dot = 0;
  let ones = 0;
  let others = 0;
  for (let index = 0; index < one.length; index += 1) {
    const [a, b] = [one[index] ?? 0, other[index] ?? 0];
    dot += a * b;
    ones += a * a;
    others += b * b;
  }
  const length = Math.sqrt(ones) * Math.sqrt(others);
  return length > 0 ? Math.max(-1, Math.min(1, dot / length)) : 0;
}

export function similarities(vectors: readonly (readonly number[])[]): number[][] {
  return vectors.map((one) => vectors.map((other) => cosine(one, other)));
}

/** Probability from 0 to 1 of a log probability. */
export function probability(logprob: number): number {
  return Math.exp(Math.min(0, logprob));
}

/** How sure the model was, from 0 (unlikely) to 4 (nearly certain): the steps of the colours. */
export function sureness(logprob: number): number {
  const p = probability(logprob);
  return [0.05, 0.25, 0.6, 0.9].filter((step) => p >= step).length;
}

/** `12.3 %`, and more digits where it is small. */
export function percent(p: number, decimal: (value: number, digits: number) => string): string {
  if (p > 0 && p < 0.0001) return `< ${decimal(0.01, 2)} %`;
  return `${decimal(100 * p, p < 0.01 ? 2 : 1)} %`;
}

/** The text of a token or piece with what does not show made visible; bytes that are no text as `<E2 82>`. */
export function visible(piece: string | readonly number[]): string {
  if (typeof piece !== "string") {
    return `<${piece.map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ")}>`;
  }
  return piece
    .replaceAll(" ", "·")
    .replaceAll("\t", "→")
    .replaceAll("\r", "␍")
    .replaceAll("\n", "↵")
    .replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu, (each) => {
      return `<U+${(each.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}>`;
    });
}

/** What a token is shown as: its text, or its bytes where they are only a part of a character. */
export function shownToken(token: { token: string; bytes?: number[] }): string {
  const isPart = token.token.includes("\ufffd") && token.bytes !== undefined;
  return isPart ? visible(token.bytes ?? []) : visible(token.token);
}

/** How unsure the model was on the whole: the perplexity of what it wrote. */
export function perplexity(logprobs: readonly number[]): number | null {
  if (logprobs.length === 0) return null;
  return Math.exp(-logprobs.reduce((sum, each) => sum + each, 0) / logprobs.length);
}
