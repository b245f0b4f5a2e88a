import DOMPurify from "dompurify";
import temml from "temml";

const SETTINGS = {
  trust: false,
  strict: false,
  throwOnError: true,
  maxSize: [25, 50] as [number, number],
  maxExpand: 500,
  annotate: false,
};

/** Draw a formula into an element, whose text is the TeX. If it is not valid TeX, the text stays. */
export function drawFormula(element: HTMLElement): void {
  const tex = element.dataset["math"] ?? "";
  const holder = document.createElement("span");
  try {
    temml.render(tex, holder, { ...SETTINGS, displayMode: element.classList.contains("math-display") });
  } catch {
    return;
  }
  // Temml builds elements, no text. They are cleaned all the same, as everything is.
  DOMPurify.sanitize(holder, {
    IN_PLACE: true,
    USE_PROFILES: { mathMl: true },
    ADD_TAGS: ["span"],
    ADD_ATTR: ["style"],
    FORBID_ATTR: ["href", "id", "name"],
  });
  element.replaceChildren(...holder.childNodes);
  element.setAttribute("data-drawn", "");
}
