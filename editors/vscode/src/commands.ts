// The commands that run vflc on the spec at hand: each in a terminal, which says what the command line says.
import { basename, dirname, extname, join } from "node:path";
import * as vscode from "vscode";
import { tablesOf } from "./data";
import type { Server } from "./server";
import { inTerminal } from "./tasks";

interface Spec {
  readonly path: string;
  readonly name: string;
  /** The folder that paths are said from: the one that is open, or the spec's own. */
  readonly folder: string;
}

export function registerCommands(context: vscode.ExtensionContext, server: Server): vscode.Disposable[] {
  const command = (name: string, run: (vflc: string, spec: Spec) => Promise<void>) =>
    vscode.commands.registerCommand(`vflc.${name}`, async (uri?: vscode.Uri) => {
      const vflc = await ready(server);
      const spec = vflc && (await specOf(uri));
      if (vflc && spec) await run(vflc, spec);
    });
  return [
    command("compile", compile),
    command("verify", async (vflc, { path, folder }) => void (await inTerminal("verify", vflc, ["verify", path], folder))),
    command("train", (vflc, spec) => train(context.workspaceState, vflc, spec)),
    vscode.commands.registerCommand("vflc.newProject", async () => {
      const vflc = await ready(server);
      if (vflc) await newProject(vflc);
    }),
  ];
}

async function compile(vflc: string, { path, name, folder }: Spec): Promise<void> {
  const out = join(folder, "build", name);
  if ((await inTerminal("compile", vflc, ["compile", path, "-o", out], folder)) !== 0) return;
  const open = "Open Manifest";
  const chosen = await vscode.window.showInformationMessage(`Compiled to ${vscode.workspace.asRelativePath(out)}.`, open);
  if (chosen === open)
    await vscode.commands.executeCommand("markdown.showPreview", vscode.Uri.file(join(out, "manifest.md")));
}

async function train(memory: vscode.Memento, vflc: string, { path, name, folder }: Spec): Promise<void> {
  const tables = await tablesOf(memory, vscode.Uri.file(path));
  if (!tables) return;
  const out = join(folder, "runs", name);
  const args = ["train", path, ...tables.flatMap(([party, source]) => ["--data", `${party}=${source}`]), "--out", out];
  if (await exists(out)) {
    const [resume, replace] = ["$(debug-continue) Continue it", "$(trash) Replace it"];
    const chosen = await vscode.window.showQuickPick([resume, replace], {
      title: "Train",
      placeHolder: `There is a run in ${vscode.workspace.asRelativePath(out)}`,
    });
    if (!chosen) return;
    args.push(chosen === resume ? "--resume" : "--overwrite");
  }
  await inTerminal("train", vflc, args, folder);
}

async function newProject(vflc: string): Promise<void> {
  const found = await vscode.window.showSaveDialog({ title: "The folder of a new project", saveLabel: "Make" });
  if (!found) return;
  if ((await inTerminal("new project", vflc, ["init", found.fsPath], dirname(found.fsPath))) !== 0) return;
  const [spec] = await vscode.workspace.fs
    .readDirectory(found)
    .then((entries) => entries.filter(([entry]) => entry.endsWith(".vfl")));
  if (spec) await vscode.window.showTextDocument(vscode.Uri.joinPath(found, spec[0]));
}

/** vflc, where it is there and this folder is trusted: what runs here writes files, and reads what the spec names. */
async function ready(server: Server): Promise<string | undefined> {
  if (!vscode.workspace.isTrusted) {
    const manage = "Manage Trust";
    const chosen = await vscode.window.showWarningMessage("This runs once the folder is trusted.", manage);
    if (chosen) await vscode.commands.executeCommand("workbench.trust.manage");
    return undefined;
  }
  if (server.vflc) return server.vflc.path;
  const install = "Install…";
  const chosen = await vscode.window.showWarningMessage("vflc is not installed.", install);
  if (chosen) await vscode.commands.executeCommand("vflc.install");
  return undefined;
}

/** The spec that is asked for, or else the one that is open, as it stands on the disk. */
async function specOf(uri?: vscode.Uri): Promise<Spec | undefined> {
  const open = vscode.window.activeTextEditor?.document;
  const document = uri ? await vscode.workspace.openTextDocument(uri) : open;
  if (document?.languageId !== "vfl") {
    void vscode.window.showWarningMessage("Open a .vfl file first.");
    return undefined;
  }
  if ((document.isDirty || document.isUntitled) && !(await document.save())) return undefined;
  const path = document.uri.fsPath;
  const folder = vscode.workspace.getWorkspaceFolder(document.uri)?.uri.fsPath ?? dirname(path);
  return { path, name: basename(path, extname(path)), folder };
}

async function exists(path: string): Promise<boolean> {
  return vscode.workspace.fs.stat(vscode.Uri.file(path)).then(
    () => true,
    () => false,
  );
}
