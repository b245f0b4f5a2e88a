import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

import type { Plugin } from "vite";

type Bundle = Record<string, { type: "asset" } | { type: "chunk"; moduleIds: string[] }>;

interface Manifest {
  name: string;
  version: string;
  license?: string;
}

/** Packages whose code is in workers: these are built by themselves, and before the page. */
const inWorkers = new Set<string>();

/** Notes what is built into workers, for `licences`. */
export function workerLicences(): Plugin {
  return {
    name: "corral-worker-licences",
    generateBundle(_options, bundle) {
      for (const folder of packagesOf(bundle)) inWorkers.add(folder);
    },
  };
}

/** Adds licences.txt: the notices of every package whose code is in the built files. */
export function licences(): Plugin {
  return {
    name: "corral-licences",
    apply: "build",
    generateBundle(_options, bundle) {
      const folders = new Set([...packagesOf(bundle), ...inWorkers]);
      const notices = [...folders].map(notice).sort();
      this.emitFile({ type: "asset", fileName: "licences.txt", source: notices.join("\n\n") });
    },
  };
}

function packagesOf(bundle: Bundle): Set<string> {
  const folders = new Set<string>();
  for (const output of Object.values(bundle)) {
    for (const id of output.type === "chunk" ? output.moduleIds : []) {
      const folder = packageFolder(id);
      if (folder) folders.add(folder);
    }
  }
  return folders;
}

function packageFolder(id: string): string | null {
  const path = id.replace(/^\0/, "").replace(/\?.*$/, "");
  const match = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path);
  return match?.[1] ?? null;
}

function notice(folder: string): string {
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
  const file = readdirSync(folder).find((name) => /^(licen[cs]e|copying)(\.|$)/i.test(name));
  if (!file || !existsSync(dirname(folder))) throw new Error(`${manifest.name} has no licence file`);
  const text = readFileSync(join(folder, file), "utf8").trim();
  return `${manifest.name} ${manifest.version} (${manifest.license ?? "see below"})\n\n${text}\n\n${"-".repeat(72)}`;
}
