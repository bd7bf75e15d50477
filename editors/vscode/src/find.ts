// Where vflc is: what the settings say, an environment in the folder, the one that the Python extension has chosen, the
// PATH. A folder that is not trusted has no say: what it brings along is not run.
import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import * as vscode from "vscode";

const windows = process.platform === "win32";
const NAME = windows ? "vflc.exe" : "vflc";
const BIN = windows ? "Scripts" : "bin";
const PYTHON = windows ? "python.exe" : "python";
const LIMIT = 30_000; // milliseconds for a first start from a slow disk

export interface Vflc {
  readonly path: string;
  readonly version: string;
}

/** What an environment has, or would have: its Python and its vflc. */
export function inEnvironment(folder: string): { python: string; vflc: string } {
  return { python: join(folder, BIN, PYTHON), vflc: join(folder, BIN, NAME) };
}

/** Environments in the folders that are open, whether they have vflc or not. */
export async function environments(): Promise<string[]> {
  const found = [];
  for (const folder of trustedFolders())
    for (const name of [".venv", "venv"]) {
      const environment = join(folder, name);
      if (await runs(inEnvironment(environment).python)) found.push(environment);
    }
  return found;
}

/** The Python that the Python extension has chosen for the first folder, where there is that extension. */
export async function chosenPython(): Promise<string | undefined> {
  if (!vscode.workspace.isTrusted) return undefined;
  const extension = vscode.extensions.getExtension("ms-python.python");
  if (!extension) return undefined;
  try {
    const { environments } = await extension.activate();
    const chosen = environments.getActiveEnvironmentPath(vscode.workspace.workspaceFolders?.[0]?.uri);
    const about = await environments.resolveEnvironment(chosen);
    return about?.executable?.uri?.fsPath;
  } catch {
    return undefined; // what another extension does is no reason to stop
  }
}

/** The programs of this name on the PATH, the first first. */
export async function onPath(...names: string[]): Promise<string[]> {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter(isAbsolute);
  const found = [];
  for (const folder of folders)
    for (const name of names) {
      const path = join(folder, windows ? `${name}.exe` : name);
      if (await runs(path)) found.push(path);
    }
  return found;
}

/** vflc, and why it is not used where it is not. */
export async function find(): Promise<Vflc | string> {
  const set = vscode.workspace.getConfiguration("vflc").get<string>("path", "").trim();
  if (set) {
    const path = absolute(set);
    if (path === undefined) return `the setting vflc.path, ${set}, is relative, and no trusted folder is open`;
    return (await ask(path)) ?? `the setting vflc.path says ${set}, which is not vflc`;
  }
  const python = await chosenPython();
  const places = [
    ...trustedFolders().flatMap((folder) => [".venv", "venv"].map((name) => inEnvironment(join(folder, name)).vflc)),
    ...(python ? [join(dirname(python), NAME)] : []),
    ...(await onPath("vflc")),
  ];
  for (const path of places) {
    const found = await ask(path);
    if (found) return found;
  }
  return "vflc is not installed";
}

async function ask(path: string): Promise<Vflc | undefined> {
  if (!(await runs(path))) return undefined;
  return new Promise((resolve) =>
    execFile(path, ["--version"], { cwd: homedir(), timeout: LIMIT, windowsHide: true }, (error, out) => {
      const version = /^vflc (\d\S*)/m.exec(out)?.[1];
      resolve(error || !version ? undefined : { path, version });
    }),
  );
}

async function runs(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

function absolute(path: string): string | undefined {
  if (/^~[/\\]/.test(path)) return join(homedir(), path.slice(2));
  if (isAbsolute(path)) return path;
  const folder = trustedFolders()[0];
  return folder && join(folder, path);
}

function trustedFolders(): string[] {
  const folders = vscode.workspace.isTrusted ? (vscode.workspace.workspaceFolders ?? []) : [];
  return folders.filter(({ uri }) => uri.scheme === "file").map(({ uri }) => uri.fsPath);
}
