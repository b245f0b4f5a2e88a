import { useEffect, useState } from "preact/hooks";

const MARGIN = "1200px 0px";
const waiting = new WeakMap<Element, () => void>();
let observer: IntersectionObserver | null = null;

/** Whether an element is, or once was, near what is seen. One observer serves all. */
export function useNear(element: { current: Element | null }, isKnown: boolean): boolean {
  const [isNear, setNear] = useState(isKnown);
  useEffect(() => {
    const target = element.current;
    if (isNear || !target) return;
    if (typeof IntersectionObserver !== "function") {
      setNear(true);
      return;
    }
    observer ??= new IntersectionObserver(
      (entries) => {
        for (const each of entries) if (each.isIntersecting) waiting.get(each.target)?.();
      },
      { rootMargin: MARGIN },
    );
    waiting.set(target, () => setNear(true));
    observer.observe(target);
    return () => {
      observer?.unobserve(target);
      waiting.delete(target);
    };
  }, [isNear]);
  return isNear || isKnown;
}
