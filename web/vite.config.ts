import { defineConfig } from "vitest/config";

import { licences, workerLicences } from "./build/licences.ts";
import { pack } from "./build/pack.ts";

export default defineConfig({
  // Everything is relative: the page works below whatever prefix a proxy gives it.
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../src/corral/web/dist",
    emptyOutDir: true,
    assetsDir: "",
    target: "es2023",
    cssTarget: ["chrome123", "firefox128", "safari17.5"],
    // Nothing may be inlined: the policy of the page allows no data: URLs of scripts and styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  worker: { format: "es", plugins: () => [workerLicences()] },
  plugins: [licences(), pack()],
  server: { proxy: { "/api": "http://127.0.0.1:11434", "/v1": "http://127.0.0.1:11434" } },
  test: {
    include: ["tests/**/*.test.{ts,tsx}"],
    environment: "happy-dom",
    restoreMocks: true,
    // Ends what hangs; no test depends on the speed of the machine.
    testTimeout: 120_000,
  },
});
