// The page: an editor, and beside it what the compiler says of its text.

import { ready } from "./compiler.js";
import { vfl } from "./colours.js";
import { editor } from "./editor.js";
import * as language from "./language.js";
import { fragment, spec } from "./link.js";
import { markdown } from "./markdown.js";
import { picture } from "./picture.js";
import { crossing, findings, learned } from "./tables.js";

const PAUSE = 100; // ms without a keystroke after which a text is checked
const part = (id) => document.getElementById(id);
const status = (text) => { part("status").textContent = text; };

let waiting, checking = false, checked = null, drawn = false;
const examples = await fetch("examples.json").then((got) => got.json());
for (const { name, title } of examples) part("examples").append(new Option(title, name));
const writing = editor(part("editor"), await first(), (text) => {
  clearTimeout(waiting);
  waiting = setTimeout(check, PAUSE);
  const same = examples.find((each) => each.text === text);
  part("examples").value = same?.name ?? "";
});
part("examples").value = examples.find((each) => each.text === writing.text())?.name ?? "";
vfl().then(writing.colour);
const graph = picture(part("graph"), { go: writing.goTo, say: status });
ready.then(check, (error) => status(`The compiler did not start: ${error.message}`));

async function first() {
  try {
    const text = await spec(location.hash);
    if (text !== null) return text;
  } catch (error) {
    setTimeout(() => status(`The link holds no spec that can be read: ${error.message}`));
  }
  return examples[0].text;
}

async function check() {
  if (checking) return; // it looks at what is newest when it is done
  checking = true;
  await ready;
  try {
    while (checked !== writing.text()) {
      const text = writing.text();
      const begun = performance.now();
      const answer = await language.check(text);
      [checked, drawn] = [text, answer.drawn];
      if (writing.text() !== text) continue;
      show(answer, []);
      status(summary(answer.findings, performance.now() - begun));
      await draw();
      if (answer.findings.length) {
        const fixes = await language.fixes(text, answer.findings);
        if (writing.text() === text) show(answer, fixes);
      }
    }
  } catch (error) {
    checked = writing.text();
    status(`The compiler failed, which is a bug in vflc. Please report it with your spec. ${error.message}`);
  } finally {
    checking = false;
  }
}

/** The picture of what is written, where it is seen. */
async function draw() {
  if (!part("graph").hidden && checked !== null) await graph.show(checked, drawn);
}

function show(answer, fixes) {
  writing.show(answer);
  writing.underline(answer.findings, fixes, mend);
  const tasks = { go: writing.go, mend, explain };
  part("findings").replaceChildren(...findings(answer.findings, fixes, tasks));
  part("tab-findings").textContent = `Findings${answer.findings.length ? ` (${answer.findings.length})` : ""}`;
  for (const [id, made] of [["crossing", crossing], ["learned", learned]]) {
    part(id).classList.toggle("old", answer[id] === null);
    if (answer[id] !== null) part(id).replaceChildren(...made(answer[id]));
  }
}

function summary(found, milliseconds) {
  const count = (level) => found.filter((each) => each.level === level).length;
  const parts = [["error", "mistake"], ["warning", "warning"], ["note", "note"]]
    .map(([level, word]) => [count(level), word])
    .filter(([many]) => many)
    .map(([many, word]) => `${many} ${word}${many > 1 ? "s" : ""}`);
  return `Checked in ${Math.max(1, Math.round(milliseconds))} ms: ${parts.join(", ") || "no mistakes"}.`;
}

function mend(fix) {
  writing.change(fix.changes);
}

async function explain(code) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-label", code);
  const close = document.createElement("button");
  close.textContent = "Close";
  close.addEventListener("click", () => dialog.close());
  dialog.append(markdown(await language.explain(code)), close);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

part("examples").addEventListener("change", ({ target }) => {
  const chosen = examples.find((each) => each.name === target.value);
  if (!chosen) return;
  graph.forget();
  writing.replace(chosen.text);
});
part("format").addEventListener("click", async () => {
  await ready;
  const text = writing.text();
  const changes = await language.format(text);
  if (writing.text() === text && changes.length) writing.change(changes);
});
part("link").addEventListener("click", async () => {
  try {
    history.replaceState(null, "", await fragment(writing.text()));
  } catch (error) {
    status(`There is no link: ${error.message}.`);
    return;
  }
  try {
    await navigator.clipboard.writeText(location.href);
    status("The link is in the clipboard. It holds the whole spec, and nothing was sent.");
  } catch {
    status("The address of this page is now the link: it holds the whole spec.");
  }
});

const tabs = [...document.querySelectorAll("[role=tab]")];
function choose(tab) {
  for (const each of tabs) {
    each.setAttribute("aria-selected", String(each === tab));
    each.tabIndex = each === tab ? 0 : -1;
    part(each.getAttribute("aria-controls")).hidden = each !== tab;
  }
  draw();
}
for (const [index, tab] of tabs.entries()) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", ({ key }) => {
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 }[key];
    if (to === undefined) return;
    const chosen = tabs.at(to % tabs.length);
    choose(chosen);
    chosen.focus();
  });
}
