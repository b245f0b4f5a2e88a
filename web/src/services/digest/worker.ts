import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";

import type { DigestReport } from "./index";

const REPORT_EVERY_BYTES = 8 << 20;

// The worker is handed a file, which is a reference, and reads it piece by piece.
onmessage = (event: MessageEvent<Blob>) => {
  void digest(event.data).catch((error: unknown) => {
    report({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  });
};

async function digest(file: Blob): Promise<void> {
  const hash = sha256.create();
  const reader = file.stream().getReader();
  let done = 0;
  let reported = 0;
  for (;;) {
    const piece = await reader.read();
    if (piece.done) break;
    hash.update(piece.value);
    done += piece.value.byteLength;
    if (done - reported >= REPORT_EVERY_BYTES) report({ kind: "read", bytes: (reported = done) });
  }
  report({ kind: "done", digest: `sha256:${bytesToHex(hash.digest())}` });
}

function report(message: DigestReport): void {
  postMessage(message);
}
