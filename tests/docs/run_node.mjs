// Runs the JavaScript examples of the docs: lines {"file", "folder"} in, {"error", "output"} out (tests/docs/world.py).
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";

const plain = globalThis.fetch;
// npm's `ollama` does not read OLLAMA_HOST.
const here = new URL(process.env.OLLAMA_HOST).host;
globalThis.fetch = async (url, ...words) => {
  const response = await plain(String(url.url ?? url).replace("127.0.0.1:11434", here), ...words);
  if (response.status >= 400) {
    throw new Error(`${response.status} ${await response.text()}`);
  }
  return response;
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  const lines = [];
  const write = process.stdout.write.bind(process.stdout);
  console.log = (...words) => lines.push(words.map((each) => (typeof each === "string" ? each : inspect(each))).join(" ") + "\n");
  process.stdout.write = (text) => lines.push(String(text)) > 0;
  let error = "";
  process.chdir(order.folder);
  try {
    await import(pathToFileURL(order.file).href);
  } catch (thrown) {
    error = thrown.stack ?? String(thrown);
  }
  process.stdout.write = write;
  process.stdout.write(JSON.stringify({ error, output: lines.join("") }) + "\n");
}
