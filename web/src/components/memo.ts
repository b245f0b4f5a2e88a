import { Component, h, type ComponentChildren, type FunctionComponent } from "preact";

/** A component that is drawn again only if its properties are not the same. (That of preact/compat costs 4 KB.) */
export function memo<P extends object>(
  Inner: (props: P) => ComponentChildren,
  isSame: (before: P, after: P) => boolean = isShallowlySame,
): FunctionComponent<P> {
  class Memo extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      return !isSame(this.props as P, next);
    }

    override render(): ComponentChildren {
      return h(Inner as FunctionComponent<P>, this.props as P & {});
    }
  }
  return Memo as unknown as FunctionComponent<P>;
}

function isShallowlySame<P extends object>(before: P, after: P): boolean {
  return Object.entries(after).every(([name, value]) => (before as Record<string, unknown>)[name] === value);
}
