import { Component, h, type ComponentChildren, type FunctionComponent } from "preact";

/** A component that is drawn again only if its properties differ in what `isSame` compares. */
export function memo<P extends object>(
  Inner: (props: P) => ComponentChildren,
  isSame: (before: P, after: P) => boolean,
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
