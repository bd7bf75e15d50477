// A VS Code to test in: code-server with the extension from its .vsix, in a browser, with a folder of specs; all of it
// in a temporary folder, and stopped with whoever has started it.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const extension = fileURLToPath(new URL("../..", import.meta.url));
export const root = join(extension, "..", "..");
const entry = join(root, "build", "code-server", "node_modules", "code-server", "out", "node", "entry.js");
const browser = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

/** What only distracts, or asks for a network. */
const SETTINGS = {
  "workbench.colorTheme": "Default Dark Modern",
  "workbench.startupEditor": "none",
  "workbench.tips.enabled": false,
  "security.workspace.trust.startupPrompt": "never",
  "security.workspace.trust.banner": "never",
  "telemetry.telemetryLevel": "off",
  "extensions.autoCheckUpdates": false,
  "extensions.ignoreRecommendations": true,
  "files.autoSave": "off",
  "remote.autoForwardPorts": false,
  "git.enabled": false,
  "editor.minimap.enabled": false,
  "editor.accessibilitySupport": "off",
  "files.simpleDialog.enable": true,
};

/** Starts a program with a group of its own, and ends all of them with its own end or that of its input: this process's. */
const KEEPER = `set -m; "$@" </dev/null & group=$!; trap 'kill -- -$group; wait' EXIT; trap exit TERM INT HUP; read -r`;

/** @typedef {Awaited<ReturnType<typeof start>>} Started */

/** Starts all of it; `stop` ends it, and so does the end of this process, however that comes. */
export async function start() {
  const temporary = mkdtempSync(join(tmpdir(), "vflc-editor-"));
  const at = (/** @type {string[]} */ ...parts) => join(temporary, ...parts);
  for (const folder of ["specs", "user/User", "user/Machine", "extensions", "bin", "home"]) mkdirSync(at(folder), { recursive: true });
  const program = (/** @type {string} */ path, /** @type {string} */ text) =>
    writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  // pygls lies in a folder of its own (see the Makefile), so vflc is started through a script that says so.
  const vflc = at("bin", "vflc-here");
  program(vflc, `PYTHONPATH='${join(root, "build", "lsp")}' exec '${join(root, ".venv", "bin", "vflc")}' "$@"`);
  symlinkSync(realpathSync(join(root, ".venv", "bin", "python")), at("bin", "python3"));
  writeFileSync(at("user", "User", "settings.json"), JSON.stringify(SETTINGS));
  // Those of the machine are read again when they change; the user's are not, here.
  const settings = (/** @type {Record<string, unknown>} */ some) =>
    writeFileSync(at("user", "Machine", "settings.json"), JSON.stringify(some));
  settings({});
  writeFileSync(at("config.yaml"), "auth: none\n");

  const given = ["--config", at("config.yaml"), "--user-data-dir", at("user"), "--extensions-dir", at("extensions")];
  const environment = { ...process.env, HOME: at("home"), PATH: `${at("bin")}:/usr/bin:/bin`, EXTENSIONS_GALLERY: "{}" };
  execFileSync(process.execPath, [entry, ...given, "--install-extension", join(extension, "vfl.vsix")], { env: environment });
  const flags = ["--disable-telemetry", "--disable-update-check", "--disable-getting-started-override"];
  const server = spawn(
    "bash",
    ["-c", KEEPER, "bash", process.execPath, entry, ...given, ...flags, "--bind-addr", "127.0.0.1:0"],
    { env: environment, stdio: ["pipe", "pipe", "ignore"] },
  );
  const ended = new Promise((resolve) => server.on("close", resolve));
  /** @type {string} */
  const address = await new Promise((resolve, reject) => {
    let said = "";
    server.stdout.on("data", (data) => {
      said += data;
      const found = /HTTP server listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(said);
      if (found?.[1]) resolve(found[1]);
    });
    server.on("close", () => reject(new Error(`code-server ended:\n${said}`)));
  });

  const flagsOfBrowser = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
  const chrome = await chromium.launch({ executablePath: browser, args: flagsOfBrowser });
  const page = await chrome.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(30_000);
  return {
    page, address, vflc, at, settings, program,
    async stop() {
      await chrome.close();
      server.stdin.end();
      await ended;
      rmSync(temporary, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}
