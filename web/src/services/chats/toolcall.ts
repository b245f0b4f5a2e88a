const MOST_CHARS = 100_000;
const TIMEOUT_MS = 60_000;

/**
 * The result of a call from the address of a tool: a POST with the name and the arguments as JSON, without cookies, key and referrer.
 *
 * The server's list decides which addresses there are (CORRAL_UI_TOOL_ORIGINS): the browser refuses all others.
 *
 * @throws Error: the address is not one to ask, or did not answer well.
 */
export async function askTool(url: string, name: string, args: Record<string, unknown>): Promise<string> {
  const problem = await urlProblem(url);
  if (problem) throw new Error(problem);
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name, arguments: args }),
    credentials: "omit",
    referrerPolicy: "no-referrer",
    redirect: "error",
    cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const text = await textOf(response);
  if (!response.ok) throw new Error(`the tool answered ${response.status}: ${text.slice(0, 200)}`);
  return text;
}

/** The beginning of an answer, however long it is. */
async function textOf(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (reader && text.length < MOST_CHARS) {
    const { done, value } = await reader.read();
    text += decoder.decode(value, { stream: !done });
    if (done) break;
  }
  await reader?.cancel();
  return text.slice(0, MOST_CHARS);
}

/** Why a tool cannot be at an address; empty if it can. This server's own routes are no tools: they would act for the reader. */
export async function urlProblem(url: string): Promise<string> {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    return "this is not an address";
  }
  if (parsed.protocol !== "https:" && parsed.protocol !== "http:") return "the address has to begin with https:// or http://";
  if (parsed.origin === location.origin) return "this server itself cannot be a tool";
  const allowed = await allowedOrigins();
  return allowed.includes(parsed.origin) ? "" : `CORRAL_UI_TOOL_ORIGINS of the server does not name ${parsed.origin}`;
}

/** The origins, beside this one, that the policy of the page lets it ask. */
export async function allowedOrigins(): Promise<string[]> {
  const response = await fetch(location.pathname, { method: "HEAD", cache: "no-store", credentials: "omit" });
  return originsIn(response.headers.get("content-security-policy") ?? "");
}

export function originsIn(policy: string): string[] {
  const connect = policy.split(";").find((each) => each.trim().startsWith("connect-src"));
  return (connect ?? "").trim().split(/\s+/).slice(1).filter((each) => each !== "'self'");
}
