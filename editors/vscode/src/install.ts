// Installs vflc into an environment that is chosen, in a terminal, where one sees what happens.
import { join } from "node:path";
import * as vscode from "vscode";
import { chosenPython, environments, inEnvironment, onPath } from "./find";
import type { Server } from "./server";
import { inTerminal } from "./tasks";

interface Choice extends vscode.QuickPickItem {
  /** The Python that installs; `undefined`: a file is asked for. */
  python: string | undefined;
  /** A new environment to make with it. */
  make?: string;
}

export async function install(server: Server): Promise<void> {
  if (!vscode.workspace.isTrusted) {
    void vscode.window.showWarningMessage("vflc is installed once this folder is trusted.");
    return;
  }
  const chosen = await vscode.window.showQuickPick(choices(), {
    title: "Install vflc",
    placeHolder: "The environment to install into",
    matchOnDetail: true,
  });
  if (!chosen) return;
  let python = chosen.python ?? (await ask());
  if (python === undefined) return;
  if (chosen.make !== undefined) {
    if ((await inTerminal("make an environment", python, ["-m", "venv", chosen.make])) !== 0) return;
    python = inEnvironment(chosen.make).python;
  }
  const what = vscode.workspace.getConfiguration("vflc").get<string>("package", "vflc[lsp]");
  const failed = await inTerminal("install vflc", python, ["-m", "pip", "install", "--disable-pip-version-check", what]);
  if (failed) return;
  await server.restart();
  if (server.vflc) void vscode.window.showInformationMessage(`vflc ${server.vflc.version} is installed.`);
  else void vscode.window.showWarningMessage(`vflc was installed with ${python}; set vflc.path to where it is now.`);
}

async function choices(): Promise<Choice[]> {
  const found: Choice[] = [];
  for (const folder of await environments())
    found.push({ label: "$(folder) " + vscode.workspace.asRelativePath(folder), detail: folder, python: inEnvironment(folder).python });
  const chosen = await chosenPython();
  if (chosen) found.push({ label: "$(check) the Python extension's choice", detail: chosen, python: chosen });
  const [python] = await onPath("python3", "python");
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  if (python && folder?.scheme === "file" && !found.some(({ detail }) => detail === join(folder.fsPath, ".venv")))
    found.push({ label: "$(add) a new environment, .venv", detail: join(folder.fsPath, ".venv"), python, make: join(folder.fsPath, ".venv") });
  found.push({ label: "$(folder-opened) another Python…", python: undefined });
  return found;
}

async function ask(): Promise<string | undefined> {
  const files = await vscode.window.showOpenDialog({ title: "The Python of an environment", openLabel: "Use" });
  return files?.[0]?.fsPath;
}
