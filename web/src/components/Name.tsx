import type { VNode } from "preact";

// What turns the direction of text around, or does not show at all: a name could look like another one with it.
const DECEIVING = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

/** A name with its invisible and reordering characters made visible. */
export function plainName(text: string): string {
  return text.replace(DECEIVING, "\ufffd");
}

/** A name that somebody else chose: it keeps to itself, whatever its direction is, and may break anywhere. */
export function Name({ of, isCode = false }: { of: string; isCode?: boolean }): VNode {
  return (
    <bdi class="name" data-code={isCode || undefined}>
      {plainName(of)}
    </bdi>
  );
}
