// What a person does in the editor, and sees there.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./vscode.mjs";

const shots = join(root, "build", "editor-screenshots");

export class Hands {
  /** @param {import("./vscode.mjs").Started} started */
  constructor(started) {
    this.page = started.page;
    this.folder = started.at("specs");
    this.count = 0;
    rmSync(shots, { recursive: true, force: true });
    mkdirSync(shots, { recursive: true });
  }

  /** @param {string} name @param {string} text */
  write(name, text) {
    writeFileSync(join(this.folder, name), text);
  }

  /** @param {string} keys */
  press(keys) {
    return this.page.keyboard.press(keys);
  }

  /** @param {string} text */
  type(text) {
    return this.page.keyboard.type(text);
  }

  /** @param {string} title */
  async command(title) {
    await this.press("F1");
    await this.choose(`>${title}`, title);
  }

  /** Types into the box that is open, and takes the entry of that name. @param {string} text @param {string} label */
  async choose(text, label = text) {
    const box = this.page.locator(".quick-input-widget:visible");
    await box.locator("input").first().fill(text);
    await this.row(label).click();
    await this.rest();
  }

  /** Takes the mouse to where it points at nothing. */
  rest() {
    return this.page.mouse.move(640, 795);
  }

  /** An entry of the box that is open. @param {string} label */
  row(label) {
    return this.page.locator(".quick-input-widget:visible .quick-input-list .monaco-list-row", { hasText: label }).first();
  }

  /** Answers what is asked in the box. @param {string} asked @param {string} text */
  async answer(asked, text) {
    await this.page.locator(".quick-input-widget:visible", { hasText: asked }).locator("input").first().fill(text);
    await this.press("Enter");
  }

  /** Opens a file, with the cursor at a place. @param {string} name @param {number} [line] @param {number} [column] */
  async open(name, line = 1, column = 1) {
    await this.page.locator(".explorer-folders-view .monaco-list-row", { hasText: name }).dblclick();
    await this.rest();
    await this.page.locator(`.tab.active[data-resource-name="${name}"]`).waitFor();
    await this.go(line, column);
  }

  /** @param {number} line @param {number} column */
  async go(line, column) {
    await this.press("Control+G");
    await this.page.locator(".quick-input-widget:visible input").first().fill(`:${line}:${column}`);
    await this.press("Enter");
    await this.page.locator(".statusbar-item", { hasText: `Ln ${line}, Col ${column}` }).waitFor();
  }

  /** A file as it is once it was changed and saved. @param {string} name */
  async saved(name) {
    await this.page.locator(".tab.active.dirty").waitFor();
    await this.press("Control+S");
    await this.page.locator(".tab.active:not(.dirty)").waitFor();
    return readFileSync(join(this.folder, name), "utf8");
  }

  /** A piece of the text on the screen that has one colour. @param {string} text */
  piece(text) {
    return this.page.locator(".view-line span > span", { hasText: new RegExp(`^\\s*${text}\\s*$`) }).first();
  }

  /** A message at the corner. @param {string} text */
  message(text) {
    return this.page.locator(".notification-toast", { hasText: text });
  }

  /** A page within the editor. @param {string} name */
  inside(name) {
    return this.page.frameLocator(`iframe.webview.ready`).frameLocator(`iframe#active-frame[title="${name}"]`);
  }

  closeAll() {
    return this.command("View: Close All Editors");
  }

  /** @param {string} name */
  async shot(name) {
    const number = `${++this.count}`.padStart(2, "0");
    await this.page.screenshot({ path: join(shots, `${number}-${name}.png`) });
  }
}

/** Until something holds. @param {() => boolean | Promise<boolean>} holds @param {string} what */
export async function until(holds, what) {
  const end = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within a minute: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
