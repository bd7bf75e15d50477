// The page in a browser, as it is served: `node --test` with PLAYGROUND naming the folder that build.py made.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, beforeEach, test } from "node:test";
import { browse, serve } from "./served.mjs";

const FOLDER = process.env.PLAYGROUND ?? new URL("../../../build/playground", import.meta.url).pathname;
const SHOTS = `${FOLDER}-screenshots`;
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");
const EXAMPLES = JSON.parse(await readFile(`${FOLDER}/examples.json`, "utf-8"));
/** A box of the graph says in words, and with more, what its short texts show: its label holds its name. */
const RULES = { region: { enabled: false }, "label-content-name-mismatch": { enabled: false } };
let site, browser, page, context, failures;

before(async () => {
  await mkdir(SHOTS, { recursive: true });
  site = await serve(FOLDER);
  browser = await browse();
  context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  page = await context.newPage();
  page.on("pageerror", (error) => failures.push(String(error)));
  page.on("console", (message) => message.type() === "error" && failures.push(message.text()));
  await page.goto(site.address);
  await checked();
});
beforeEach(() => { failures = []; });
after(async () => {
  await browser?.close();
  site?.close();
});

const status = () => page.textContent("#status");
async function checked(text = /^Checked/) {
  const said = (found) => new RegExp(found).test(document.getElementById("status").textContent);
  await page.waitForFunction(said, text.source).catch(async () => assert.match(await status(), text));
}

/** Writes a spec as a person would who pastes it, and waits for what is said of it. */
async function write(text) {
  await page.evaluate(() => { document.getElementById("status").textContent = ""; });
  await page.click(".cm-content");
  await page.keyboard.press("Control+A");
  await page.keyboard.press("Delete");
  if (text) await page.keyboard.insertText(text);
  await checked();
}

async function choose(name) {
  await write("");
  await page.evaluate(() => { document.getElementById("status").textContent = ""; });
  await page.selectOption("#examples", name);
  await checked();
}

/** What the editor holds, with its notes left out. */
const text = () => page.evaluate(() => [...document.querySelectorAll(".cm-line")]
  .map((line) => { const copy = line.cloneNode(true); copy.querySelectorAll(".note-hint").forEach((n) => n.remove()); return copy.textContent; })
  .join("\n"));
const show = (name) => page.click(`#tab-${name}`);

const SPEC = `party alice {
  key ID
  feature Age: float
}

party bob {
  key ID
  feature Pay: float
  label y: bool
}

logit = dense(alice.Age, 1) + dense(bob.Pay, 1)
predict y = sigmoid(logit)
objective bce(logit, bob.y)
`;

test("every example is without mistakes, and has its tables", async () => {
  for (const { name } of EXAMPLES) {
    await choose(name);
    assert.doesNotMatch(await status(), /mistake[^s]|\d mistakes/, name);
    assert.ok(await page.locator("#crossing table").count(), name);
    assert.ok(await page.locator("#learned table").count(), name);
  }
  assert.deepEqual(failures, []);
});

test("the graph has a lane a party, folds, and leads to the source", async () => {
  await choose("one_table");
  await show("graph");
  const boxes = page.locator("#graph .vfl-box");
  await boxes.first().waitFor();
  const many = await boxes.count();
  assert.deepEqual(await page.locator("#graph .vfl-lane .vfl-title").allTextContents(), ["alice", "bob"]);
  const block = page.locator("#graph [data-folded=true]").first();
  await block.focus();
  await page.keyboard.press("Space");
  await page.waitForFunction((before) => document.querySelectorAll("#graph .vfl-box").length > before, many);
  await page.locator("#graph .vfl-box[data-name='alice.Age']").focus();
  await page.keyboard.press("Enter");
  assert.match(await page.textContent(".cm-activeLine"), /feature Age/);
  assert.deepEqual(failures, []);
});

test("a typo is underlined, explained and mended", async () => {
  await choose("one_table");
  const right = await text();
  await write(right.replace("alice.features + bob", "alise.features + bob"));
  await page.locator(".cm-lintRange-error").first().waitFor();
  await show("findings");
  const finding = page.locator("#findings li.error").first();
  await finding.locator(".code").click();
  assert.match(await page.textContent("dialog"), /VFL\d{4}/);
  await page.click("dialog > button");
  await finding.locator(".fix", { hasText: "alice" }).click();
  await checked(/no mistakes/);
  assert.equal(await text(), right);
  assert.deepEqual(failures, []);
});

test("what a name is, what fits, and where it is computed", async () => {
  await choose("one_table");
  assert.match(await page.textContent(".note-hint"), /at bob/);
  assert.match(await page.textContent(".note-lens"), /values cross to bob/);
  await page.hover(".cm-line >> text=DeepFM(alice");
  await page.hover(".cm-line:has-text('logit') .owned.shared");
  await page.locator(".cm-tooltip .markdown").waitFor();
  await write(`${SPEC}\nz = sig`);
  await page.keyboard.press("Control+Space");
  await page.locator(".cm-completionLabel", { hasText: "sigmoid" }).first().waitFor();
  await page.keyboard.press("Escape");
  assert.deepEqual(failures, []);
});

test("text beyond the first plane of Unicode is counted as the page counts it", async () => {
  await write(`# 🦊🦊🦊 é\n${SPEC.replace("alice.Age, 1", "alice.Aeg, 1")}`);
  assert.ok(await page.locator(".cm-lintRange-error", { hasText: /^alice\.Aeg$|^Aeg$/ }).count());
  await show("findings");
  await page.locator("#findings .fix", { hasText: "Age" }).first().click();
  await page.waitForFunction(() => document.querySelector(".cm-content").textContent.includes("alice.Age, 1"));
});

test("a link holds the spec, and nothing is asked of the server", async () => {
  const asked = site.seen.length;
  const odd = `# <script>alert(1)</script> 🦊 ${"x".repeat(3000)}\n${SPEC}`;
  await write(odd);
  await page.click("#link");
  await page.waitForFunction(() => location.hash.startsWith("#spec="));
  await page.click("#format");
  assert.equal(site.seen.length, asked, site.seen.slice(asked).join());
  const other = await context.newPage();
  await other.goto(page.url());
  await other.waitForFunction(() => document.getElementById("status").textContent.startsWith("Checked"));
  assert.equal(await other.textContent(".cm-line"), odd.split("\n")[0]);
  await other.close();
});

test("a spec that is too long for a link is said to be", async () => {
  await write(`# ${"x".repeat(200_001)}\n${SPEC}`);
  await page.click("#link");
  await page.waitForFunction(() => /There is no link/.test(document.getElementById("status").textContent));
});

test("a link that cannot be read is said to be one", async () => {
  const bomb = await page.evaluate(async () => {
    const stream = new Blob(["a".repeat(5_000_000)]).stream().pipeThrough(new CompressionStream("deflate-raw"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    return btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join("")).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  });
  for (const hash of ["#spec=AAAA", "#spec=_", `#spec=${bomb}`]) {
    const other = await context.newPage();
    await other.goto(site.address + hash);
    await other.waitForFunction(() => /holds no spec/.test(document.getElementById("status").textContent));
    assert.match(await other.textContent(".cm-content"), /DeepFM/);
    await other.close();
  }
});

test("tabs are reached by keys", async () => {
  await page.focus("#tab-graph");
  await show("graph");
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.evaluate(() => document.activeElement.id), "tab-crossing");
  assert.ok(await page.isVisible("#crossing"));
  await page.keyboard.press("End");
  assert.ok(await page.isVisible("#findings"));
});

for (const [name, width, height] of [["desk", 1400, 900], ["phone", 390, 844]]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`readable and usable: ${name}, ${colorScheme}`, async () => {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await choose("deepfm_protected");
      await page.evaluate(AXE);
      for (const tab of ["graph", "crossing", "learned", "findings"]) {
        await show(tab);
        if (tab === "graph") await page.locator("#graph[aria-busy=false]").waitFor();
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(wide <= 0, `${tab} is ${wide} px too wide`);
        const { violations } = await page.evaluate((rules) => window.axe.run(document, { rules }), RULES);
        const told = violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
        assert.deepEqual(told, [], tab);
        await page.screenshot({ path: `${SHOTS}/${name}-${colorScheme}-${tab}.png` });
      }
    });
  }
}
