// Node's two clients of its own: fetch (undici) and http, sized and chunked bodies, on connections that stay.
import http from "node:http";

const base = process.argv[2];
const body = JSON.stringify({ model: "say", messages: [{ role: "user", content: "now A" }] });
const results = {};

const post = (options, parts) =>
  new Promise((resolve, reject) => {
    const request = http.request(base + "/api/chat", { method: "POST", ...options }, (response) => {
      let text = "";
      response.on("data", (piece) => (text += piece));
      response.on("end", () => resolve([response.statusCode, text.trim().split("\n").length]));
    });
    request.on("error", reject);
    for (const part of parts) request.write(part);
    request.end();
  });

const lines = async (response) => [response.status, (await response.text()).trim().split("\n").length];
results.fetch = await lines(await fetch(base + "/api/chat", { method: "POST", body }));
const stream = new ReadableStream({
  start(controller) {
    controller.enqueue(new TextEncoder().encode(body));
    controller.close();
  },
});
results.fetchStream = await lines(await fetch(base + "/api/chat", { method: "POST", body: stream, duplex: "half" }));
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
results.sized = await post({ agent, headers: { "Content-Length": Buffer.byteLength(body) } }, [body]);
results.chunked = await post({ agent }, [body.slice(0, 10), body.slice(10)]);
results.expect = await post({ agent, headers: { Expect: "100-continue" } }, [body]);
results.upgrade = await post({ headers: { Connection: "Upgrade", Upgrade: "websocket" } }, [body]);
agent.destroy();
console.log(JSON.stringify(results));
