import DOMPurify, { type Config } from "dompurify";

import { trustedHtml } from "../trusted";
import { escapeHtml } from "./escape";

/**
 * The only place where text becomes markup. DOMPurify is the last step: nothing may be done to the text after it.
 * The policy of the page (require-trusted-types-for 'script') makes browsers refuse HTML that did not come through here.
 */
const TAGS =
  "a b blockquote br button caption code col colgroup dd del details div dl dt em figure h1 h2 h3 h4 h5 h6 hr i img input ins " +
  "kbd li mark ol p pre q s samp section small span strong sub summary sup table tbody td tfoot th thead tr u ul var";
const ATTRIBUTES =
  "alt aria-hidden aria-label checked class data-action data-math data-display dir disabled href open scope src start tabindex title type";
// What the renderer (render.ts) and the highlighter write. Other classes would let a text dress up as a part of the page.
const CLASSES = /^(?:code|code-head|code-lang|code-tools|image-link|math|math-display|table-scroll|task|task-item|md-align-(?:left|center|right)|language-[\w+#.-]{1,40}|hljs|hljs-[\w-]{1,40}|(?:function|class|inherited|invoke)_{1,2})$/;
const IMAGE = /^data:image\/(?:png|jpeg|gif|webp|bmp);base64,[A-Za-z0-9+/=\s]+$/i;
const LINK = /^(?:https?:\/\/|mailto:)/i;

const CONFIG: Config = {
  ALLOWED_TAGS: TAGS.split(" "),
  ALLOWED_ATTR: ATTRIBUTES.split(" "),
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOW_UNKNOWN_PROTOCOLS: false,
  SANITIZE_DOM: true,
  SANITIZE_NAMED_PROPS: true,
  RETURN_TRUSTED_TYPE: false,
};

DOMPurify.addHook("uponSanitizeAttribute", (node, data) => {
  const { attrName, attrValue } = data;
  if (attrName === "class") {
    data.attrValue = attrValue.split(/\s+/).filter((each) => CLASSES.test(each)).join(" ");
    data.keepAttr = data.attrValue !== "";
  } else if (attrName === "src") {
    data.keepAttr = node.nodeName === "IMG" && IMAGE.test(attrValue);
  } else if (attrName === "href") {
    data.keepAttr = node.nodeName === "A" && LINK.test(attrValue.trim());
  } else if (attrName === "data-action") {
    data.keepAttr = node.nodeName === "BUTTON" && attrValue === "copy-code";
  } else if (attrName === "type") {
    data.keepAttr = attrValue === (node.nodeName === "INPUT" ? "checkbox" : "button");
  }
});

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
  if (node.nodeName === "INPUT") node.setAttribute("disabled", "");
  if (node.nodeName === "IMG" && !node.hasAttribute("src")) node.remove();
});

/** HTML that may be put into the page, as the type that `innerHTML` asks for. */
export function trusted(html: string): string {
  return trustedHtml(html, clean);
}

// DOMPurify returns what it was given where the browser cannot do what it needs.
function clean(text: string): string {
  return DOMPurify.isSupported ? DOMPurify.sanitize(text, CONFIG) : escapeHtml(text);
}
