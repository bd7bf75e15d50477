// The grammar, the licence and the specs live elsewhere in the repository, once: this copies them
// to where the extension and its tests read them. `--new` allows specs that have no snapshot yet.
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = join(dirname(fileURLToPath(import.meta.url)), "..");
const root = join(here, "..", "..");
const specs = join(here, "test", "specs");

/**
 * @param {string} folder
 * @returns {Generator<string>}
 */
function* find(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* find(path);
    else if (entry.name.endsWith(".vfl")) yield path;
  }
}

mkdirSync(join(here, "syntaxes"), { recursive: true });
cpSync(join(root, "grammars", "vfl.tmLanguage.json"), join(here, "syntaxes", "vfl.tmLanguage.json"));
cpSync(join(root, "LICENSE"), join(here, "LICENSE"));

mkdirSync(specs, { recursive: true });
for (const name of readdirSync(specs)) if (name.endsWith(".vfl")) rmSync(join(specs, name));
for (const path of find(join(root, "specs")))
  cpSync(path, join(specs, basename(path)), { errorOnExist: true, force: false });

const names = readdirSync(specs);
const missing = names.filter((name) => name.endsWith(".vfl") && !existsSync(join(specs, `${name}.snap`)));
const stale = names.filter((name) => name.endsWith(".snap") && !names.includes(name.slice(0, -".snap".length)));
if ((missing.length || stale.length) && !process.argv.includes("--new")) {
  console.error(`snapshots missing: ${missing.join(" ") || "none"}; without a spec: ${stale.join(" ") || "none"}`);
  console.error("run `npm run snapshot`, look at the difference and commit it");
  process.exit(1);
}
if (process.argv.includes("--new")) for (const name of stale) rmSync(join(specs, name));
