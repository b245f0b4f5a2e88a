import { Component, h, type ComponentChildren, type ComponentType } from "preact";

/** A component that is drawn again only when one of its properties is another one. (That of preact/compat costs 4 KB.) */
export function memo<P extends object>(Inner: ComponentType<P>): ComponentType<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      const before = this.props as Record<string, unknown>;
      return Object.entries(next).some(([name, value]) => before[name] !== value);
    }

    override render(): ComponentChildren {
      return h(Inner, this.props as P);
    }
  };
}
