/** The pieces of an answer as they arrive. An error of the server is thrown with its text. */
export async function* ask(host, model, messages, signal) {
  const response = await fetch(`${host}/api/chat`, {
    method: "POST",
    body: JSON.stringify({ model, messages }),
    signal,
  });
  if (!response.ok) {
    throw new Error((await response.json()).error);
  }
  for await (const line of lines(response.body)) {
    const part = JSON.parse(line);
    if (part.error) {
      throw new Error(part.error);
    }
    if (part.message?.content) {
      yield part.message.content;
    }
  }
}

/** The lines of a stream of bytes; a line may arrive in pieces. */
async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts.filter((part) => part !== "");
  }
  if (rest !== "") {
    yield rest;
  }
}
