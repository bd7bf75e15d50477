// The extension in a real VS Code. The tests are the steps of one session, in their order.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Hands, until } from "./hands.mjs";
import { root, start } from "./vscode.mjs";

/** @type {import("./vscode.mjs").Started} */
let started;
/** @type {Hands} */
let hands;
/** @type {string[]} */
const elsewhere = [];
const marker = () => started.at("home", "vflc-of-the-folder-has-run");

/** A step that is not tried where one before it has failed: it would wait for what does not come. */
let failed = false;
const step = (/** @type {string} */ name, /** @type {() => void | Promise<void>} */ run) =>
  test(name, async (context) => {
    if (failed) return context.skip("a step before has failed");
    try {
      await run();
    } catch (error) {
      failed = !process.env["KEEP_GOING"];
      throw error;
    }
  });

before(async () => {
  started = await start();
  hands = new Hands(started);
  started.page.on("request", (request) => {
    const url = request.url();
    // What webviews load has an address of its own, which a worker of VS Code answers from the extension's files.
    const own = url.startsWith(started.address) || /^(data|blob):/.test(url) || /^https:\/\/[^/]+\.vscode-resource\./.test(url);
    if (!own) elsewhere.push(url);
  });
  copyFileSync(join(root, "specs", "one_table", "one_table.vfl"), join(hands.folder, "one_table.vfl"));
  const environment = join(hands.folder, ".venv", "bin");
  mkdirSync(environment, { recursive: true });
  started.program(join(environment, "vflc"), `touch '${marker()}'; exec '${started.vflc}' "$@"`);
  await started.page.goto(`${started.address}/?folder=${hands.folder}`);
  await started.page.locator(".explorer-folders-view .monaco-list-row", { hasText: "one_table.vfl" }).waitFor();
});

after(async () => {
  await hands?.shot("last");
  await started?.stop();
});

step("a folder that is not trusted: what it brings is not run, and colours are there", async () => {
  await hands.open("one_table.vfl");
  await hands.message("vflc is not installed").waitFor();
  await hands.message("not used until it is trusted").waitFor();
  assert(!existsSync(marker()));
  assert.notEqual(await colour("party"), await colour("alice"));
  await hands.shot("not-trusted");
  await hands.command("Notifications: Clear All Notifications");
});

step("not trusted, with a vflc of one's own: it checks, and does not compile", async () => {
  started.settings({ "vflc.path": started.vflc });
  await started.page.locator(".codelens-decoration", { hasText: "3 values cross to bob" }).waitFor();
  await hands.command("vflc: Compile");
  await hands.message("This runs once the folder is trusted").waitFor();
  assert(!existsSync(marker()) && !existsSync(join(hands.folder, "build")));
  await hands.shot("not-trusted-own-vflc");
  await hands.command("Notifications: Clear All Notifications");
});

step("trusted: the environment in the folder is used", async () => {
  started.settings({});
  await hands.command("Workspaces: Manage Workspace Trust");
  await started.page.locator(".workspace-trust-editor a.monaco-button, .workspace-trust-editor .monaco-button", { hasText: "Trust" }).first().click();
  await until(() => existsSync(marker()), "the vflc of the folder runs");
  await hands.open("one_table.vfl");
  await started.page.locator(".codelens-decoration", { hasText: "3 values cross to bob" }).waitFor();
});

step("colours by owner", async () => {
  const [cyan, orange] = ["rgb(34, 211, 238)", "rgb(255, 158, 61)"];
  await until(async () => (await colour("alice")) === cyan, "alice has her colour");
  assert.equal(await colour("Gender"), cyan);
  assert.equal(await colour("bob"), orange);
  assert.equal(await colour("MovieID"), orange);
  await hands.shot("colours");
  await theme("Light Modern");
  await until(async () => (await colour("alice")) === "rgb(0, 115, 199)", "alice has her colour in the light");
  await hands.shot("colours-light");
  await theme("Dark Modern");
});

step("inlay hints and hover", async () => {
  await started.page.locator(".view-line", { hasText: "logit: [1] at bob = DeepFM" }).waitFor();
  await hands.go(27, 3);
  await hands.press("Control+K");
  await hands.press("Control+I");
  await started.page.locator(".monaco-hover:visible .hover-contents", { hasText: "[1] at bob, 4 bytes, of alice, bob" }).waitFor();
  await hands.shot("hover");
  await hands.press("Escape");
});

step("the graph: what crosses, blocks that fold, the way to the source, by mouse and by keyboard", async () => {
  await hands.open("one_table.vfl");
  await hands.command("vflc: Show Graph");
  await started.page.locator(".tab", { hasText: "Graph: one_table.vfl" }).waitFor();
  const panel = hands.inside("Graph: one_table.vfl");
  const boxes = panel.locator(".vfl-picture .vfl-box");
  await boxes.first().waitFor();
  await hands.shot("graph");
  assert.equal(await panel.locator(".vfl-lane").count(), 2);
  assert.match((await panel.locator(".vfl-crossing").allTextContents()).join(), /128 B a row[^]*tells at most the codes/);
  const stroke = (/** @type {string} */ name) =>
    panel.locator(`.vfl-feature[data-name$="${name}"] rect`).evaluate((rect) => getComputedStyle(rect).stroke);
  assert.equal(await stroke("Gender"), await colour("Gender"));
  assert.equal(await stroke("MovieID"), await colour("MovieID"));

  await panel.locator('.vfl-feature[data-name$="Occupation"]').click();
  await started.page.locator(".statusbar-item", { hasText: "Ln 11, Col" }).waitFor();
  await panel.locator('.vfl-feature[data-name$="Occupation"]').focus();
  await hands.press("ArrowLeft");
  await panel.locator('.vfl-feature[data-name$="Age"]:focus').waitFor();
  await hands.shot("graph-focus");
  await hands.press("Enter");
  await started.page.locator(".statusbar-item", { hasText: "Ln 10, Col" }).waitFor();

  const bytes = (/** @type {string} */ text) => panel.locator(".vfl-crossing", { hasText: text }).first();
  await hands.go(27, 64);
  await hands.type("1");
  await bytes("256 B a row").waitFor(); // wider than what it is made of, which crosses instead
  await hands.press("Control+Z");
  await bytes("128 B a row").waitFor();

  const folded = await boxes.count();
  await panel.locator('.vfl-block[data-folded="true"]').first().click();
  await until(async () => (await boxes.count()) > folded, "a block is unfolded");
  await panel.getByRole("button", { name: "Unfold all" }).click();
  await until(async () => (await panel.locator('.vfl-block[data-folded="true"]').count()) === 0, "all are unfolded");
  await hands.shot("graph-unfolded");
  await panel.getByRole("button", { name: "Fold all", exact: true }).click();
  await until(async () => (await boxes.count()) < folded, "all are folded");
  await hands.closeAll();
});

step("a finding: squiggle, problem, page of its code, quick fix", async () => {
  hands.write("broken.vfl", readFileSync(join(hands.folder, "one_table.vfl"), "utf8").replace("string -> split", "strnig -> split"));
  await hands.open("broken.vfl", 18, 22);
  await started.page.locator(".squiggly-error").first().waitFor();
  await hands.command("View: Toggle Problems");
  const row = started.page.locator(".markers-panel .monaco-list-row", { hasText: "strnig" });
  await row.first().waitFor();
  const code = /VFL\d{4}/.exec(await row.first().innerText())?.[0];
  assert(code, "the row has the code");
  await hands.shot("problem");
  await hands.command("View: Toggle Problems");
  await hands.go(18, 22);
  await hands.command("vflc: Explain Code");
  await hands.inside(`Preview ${code}.md`).getByRole("heading", { name: code }).waitFor();
  await hands.shot("explain");
  await hands.closeAll();
  await hands.open("broken.vfl", 18, 22);
  await started.page.locator(".squiggly-error").first().waitFor();
  await hands.press("Control+.");
  await started.page.locator(".action-widget .monaco-list-row", { hasText: "string" }).first().waitFor();
  await hands.shot("quick-fix");
  await hands.press("Enter");
  await started.page.locator(".view-line", { hasText: "Genres: string" }).waitFor();
  await until(async () => (await started.page.locator(".squiggly-error").count()) === 0, "the finding is gone");
  assert.equal(await hands.saved("broken.vfl"), readFileSync(join(hands.folder, "one_table.vfl"), "utf8"));
});

step("completion knows where it is", async () => {
  await hands.open("broken.vfl", 15, 9);
  await hands.press("Enter");
  await hands.type("feature Year: int -> bu");
  await hands.press("Control+Space");
  const row = started.page.locator(".suggest-widget .monaco-list-row", { hasText: "bucketize" });
  await row.first().waitFor();
  await hands.shot("completion");
  await hands.press("Enter");
  assert.match(await hands.saved("broken.vfl"), /^  feature Year: int -> bucketize/m);
});

step("rename", async () => {
  await hands.open("one_table.vfl", 27, 2);
  await hands.press("F2");
  await started.page.locator(".rename-box input").waitFor();
  await started.page.locator(".rename-box input").fill("score");
  await hands.shot("rename");
  await hands.press("Enter");
  await started.page.locator(".view-line", { hasText: "sigmoid(score)" }).waitFor();
  const text = await hands.saved("one_table.vfl");
  assert.match(text, /^score = DeepFM/m);
  assert.match(text, /^objective bce\(score, bob\.liked\)/m);
  assert(!text.includes("logit"));
});

step("formatting is vflc fmt's", async () => {
  const untidy = readFileSync(join(hands.folder, "one_table.vfl"), "utf8").replace(/ +->/g, "->").replace(/^  /gm, "      ");
  hands.write("untidy.vfl", untidy);
  hands.write("tidy.vfl", untidy);
  execFileSync(started.vflc, ["fmt", join(hands.folder, "tidy.vfl")]);
  await hands.open("untidy.vfl");
  await hands.command("Format Document");
  assert.equal(await hands.saved("untidy.vfl"), readFileSync(join(hands.folder, "tidy.vfl"), "utf8"));
});

step("compile, train and verify in a terminal", async () => {
  const prepare = join(root, "specs", "one_table", "prepare.py");
  execFileSync(join(root, ".venv", "bin", "python"), [prepare, "--generate", "300", "--out", started.at("home", "rows")]);
  await hands.open("one_table.vfl");
  await hands.command("vflc: Compile");
  await hands.message("Compiled to build/one_table").waitFor();
  assert(existsSync(join(hands.folder, "build", "one_table", "manifest.json")));
  await hands.shot("compiled");
  await hands.message("Compiled to").getByText("Open Manifest").click();
  await hands.inside("Preview manifest.md").getByRole("heading").first().waitFor();
  await hands.shot("manifest");
  await hands.closeAll();
  await hands.open("one_table.vfl");
  await hands.command("vflc: Train…");
  for (const party of ["alice", "bob"]) {
    await hands.row("Something else").click();
    await hands.answer(`${party}'s table`, started.at("home", "rows", `${party}.parquet`));
  }
  await until(() => existsSync(join(hands.folder, "runs", "one_table", "metrics.json")), "a trained run");
  await hands.shot("trained");
  await hands.command("vflc: Verify");
  await started.page.locator(".part.panel", { hasText: "verify" }).waitFor();
  await hands.command("Terminal: Kill All Terminals"); // the command line's own tests see what it finds
});

step("a new project", async () => {
  await hands.command("vflc: New Project…");
  const box = started.page.locator(".quick-input-widget:visible", { hasText: "The folder of a new project" });
  await hands.row("..").waitFor(); // until then it writes into the box, too
  await box.locator("input").first().fill(join(hands.folder, "trial"));
  await box.getByRole("button", { name: "OK" }).click();
  await started.page.locator(".tab.active:not([data-resource-name='one_table.vfl'])", { hasText: ".vfl" }).waitFor();
  await started.page.locator(".codelens-decoration", { hasText: "cross" }).first().waitFor();
  assert(existsSync(join(hands.folder, "trial", "README.md")));
  await hands.shot("new-project");
  await hands.closeAll();
});

step("where vflc is missing, it is installed into an environment of one's choice", async () => {
  rmSync(join(hands.folder, ".venv"), { recursive: true });
  const wheel = started.at("home", "vflc-9-py3-none-any.whl");
  execFileSync(join(root, ".venv", "bin", "python"), ["-c", WHEEL, wheel, started.vflc]);
  started.settings({ "vflc.package": wheel });
  await hands.command("vflc: Restart Language Server");
  await hands.command("vflc: Install…");
  await hands.row("new environment").waitFor();
  await hands.shot("install");
  await hands.choose("new environment");
  await until(() => hands.message("is installed").isVisible(), "vflc is installed");
  await hands.shot("installed");
  await hands.open("untidy.vfl");
  await started.page.locator(".codelens-decoration", { hasText: "3 values cross to bob" }).waitFor();
});

step("the walkthrough", async () => {
  await hands.command("Notifications: Clear All Notifications");
  await hands.command("View: Hide Panel");
  await hands.command("Welcome: Open Walkthrough...");
  await hands.choose("Train one model", "Train one model");
  await started.page.locator(".gettingStartedContainer .step-title", { hasText: "Read what crosses" }).first().waitFor();
  await hands.shot("walkthrough");
});

step("nothing was asked of another machine", () => assert.deepEqual(elsewhere, []));

/** The colour of a word on the screen. @param {string} word */
const colour = (word) => hands.piece(word).evaluate((element) => getComputedStyle(element).color);

const theme = async (/** @type {string} */ name) => {
  await hands.command("Preferences: Color Theme");
  await hands.choose(name);
};

/** A vflc to install that is the one at hand: what is tested is how it is installed. */
const WHEEL = `
import sys, zipfile
path, vflc = sys.argv[1:]
with zipfile.ZipFile(path, "w") as wheel:
    wheel.writestr("stub_of_vflc.py", f"import os, sys\\ndef main(): os.execv({vflc!r}, [{vflc!r}, *sys.argv[1:]])\\n")
    about = "vflc-9.dist-info/"
    wheel.writestr(about + "METADATA", "Metadata-Version: 2.1\\nName: vflc\\nVersion: 9\\n")
    wheel.writestr(about + "WHEEL", "Wheel-Version: 1.0\\nGenerator: a test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr(about + "entry_points.txt", "[console_scripts]\\nvflc = stub_of_vflc:main\\n")
    wheel.writestr(about + "RECORD", "")
`;
