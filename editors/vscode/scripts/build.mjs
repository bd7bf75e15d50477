// One file of the extension and all that it imports, and the licences of what is in it.
import { build } from "esbuild";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = join(dirname(fileURLToPath(import.meta.url)), "..");
const root = join(here, "..", "..");
const out = join(here, "dist");

const common = { absWorkingDir: here, bundle: true, minify: true, legalComments: "none", logLevel: "warning" };
const { metafile } = await build({
  .../** @type {import("esbuild").BuildOptions} */ (common), // licences.txt has them whole
  entryPoints: ["src/extension.ts"],
  outfile: join(out, "extension.js"),
  platform: "node",
  target: "node20",
  external: ["vscode"],
  metafile: true,
});
await build({
  .../** @type {import("esbuild").BuildOptions} */ (common),
  entryPoints: ["src/webview/panel.ts", "src/webview/panel.css"],
  outdir: out,
  platform: "browser",
  target: "chrome120",
});
// What shows a picture comes with vflc, where pages of its own use it, too.
for (const name of ["graph.js", "graph.css"]) cpSync(join(root, "vflc", "picture", name), join(out, name));

const packages = new Set(
  Object.keys(metafile.inputs).flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []),
);
const licences = [...packages].sort().map((path) => {
  const { name, version, license } = JSON.parse(readFileSync(join(here, path, "package.json"), "utf8"));
  const file = readdirSync(join(here, path)).find((each) => /^licen[sc]e/i.test(each));
  if (!file) throw new Error(`${name} has no licence`);
  return `${name} ${version} (${license})\n\n${readFileSync(join(here, path, file), "utf8").trim()}\n`;
});
writeFileSync(join(out, "licences.txt"), licences.join(`\n${"-".repeat(80)}\n\n`));
