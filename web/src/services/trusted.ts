/**
 * The Trusted Types policy of the page: the only one besides DOMPurify's, and the only way by which a text becomes
 * HTML or the address of a worker. Browsers without Trusted Types get the plain text, checked in the same way.
 */
const policy = window.trustedTypes?.createPolicy("corral", {
  createHTML: (text: string, clean: (text: string) => string) => clean(text),
  createScriptURL: checkedUrl,
});

/** HTML for the document; `clean` comes last and must be a sanitizer. */
export function trustedHtml(text: string, clean: (text: string) => string): string {
  return (policy?.createHTML(text, clean) ?? clean(text)) as string;
}

/** The address of a script of ours, for a worker. @throws Error if it is not one of the page's own files. */
export function trustedScript(url: string): string {
  return (policy?.createScriptURL(url) ?? checkedUrl(url)) as unknown as string;
}

function checkedUrl(text: string): string {
  const url = new URL(text, location.href);
  if (url.origin !== location.origin) throw new Error("a script of another server");
  return url.href;
}
