import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

import type { Plugin } from "vite";

// Below this a packed file saves nothing that matters.
const SMALL_BYTES = 512;

/** Writes NAME.gz and NAME.br beside each built file, so that the server never packs anything itself. */
export function pack(): Plugin {
  let folder = "";
  return {
    name: "corral-pack",
    apply: "build",
    configResolved(config) {
      folder = resolve(config.root, config.build.outDir);
    },
    closeBundle() {
      for (const name of readdirSync(folder)) {
        // A worker of the page is a build within the build: this may run more than once.
        if (/\.(?:gz|br)$/.test(name)) continue;
        const data = readFileSync(join(folder, name));
        if (data.length < SMALL_BYTES) continue;
        // Node's gzip header has no time in it: the same bytes give the same file.
        writeFileSync(join(folder, `${name}.gz`), gzipSync(data, { level: 9 }));
        const params = {
          [constants.BROTLI_PARAM_QUALITY]: 11,
          [constants.BROTLI_PARAM_SIZE_HINT]: data.length,
        };
        writeFileSync(join(folder, `${name}.br`), brotliCompressSync(data, { params }));
      }
    },
  };
}
