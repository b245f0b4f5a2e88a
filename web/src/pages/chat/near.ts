import { useEffect, useState } from "preact/hooks";

const MARGIN = "1500px 0px";
const waiting = new WeakMap<Element, () => void>();
// The margin counts only for the element that scrolls, so each of them has an observer.
const observers = new WeakMap<Element, IntersectionObserver>();

/** Whether an element is, or once was, near what is seen of the box that it scrolls in. */
export function useNear(element: { current: Element | null }, isKnown: boolean): boolean {
  const [isNear, setNear] = useState(isKnown);
  useEffect(() => {
    if (isKnown) setNear(true);
  }, [isKnown]);
  useEffect(() => {
    const target = element.current;
    const root = target?.closest(".chat-scroll");
    if (isNear || !target || !root) return;
    const observer = observerOf(root);
    waiting.set(target, () => setNear(true));
    observer.observe(target);
    return () => {
      observer.unobserve(target);
      waiting.delete(target);
    };
  }, [isNear]);
  return isNear || isKnown;
}

function observerOf(root: Element): IntersectionObserver {
  let found = observers.get(root);
  if (!found) {
    found = new IntersectionObserver(
      (entries) => {
        for (const each of entries) if (each.isIntersecting) waiting.get(each.target)?.();
      },
      { root, rootMargin: MARGIN },
    );
    observers.set(root, found);
  }
  return found;
}
