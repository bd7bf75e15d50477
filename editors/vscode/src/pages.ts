// The pages of codes: text that vflc has, shown as Markdown is.
import { execFile } from "node:child_process";
import { homedir } from "node:os";
import { promisify } from "node:util";
import * as vscode from "vscode";
import type { Server } from "./server";

const SCHEME = "vflc-page";
const CODE = /^VFL\d{4}$/;

export function registerPages(server: Server): vscode.Disposable[] {
  const told = async (...args: string[]) => {
    if (!server.vflc) throw new Error("vflc is not installed");
    const { stdout } = await promisify(execFile)(server.vflc.path, ["explain", ...args], { cwd: homedir(), windowsHide: true });
    return stdout;
  };
  return [
    vscode.workspace.registerTextDocumentContentProvider(SCHEME, {
      provideTextDocumentContent: ({ path }) => {
        const code = path.replace(/\.md$/, "");
        return CODE.test(code) ? told(code) : undefined;
      },
    }),
    vscode.commands.registerCommand("vflc.explain", async (code?: unknown) => {
      const chosen = typeof code === "string" ? code : (atCursor() ?? (await pick(() => told("--json"))));
      if (chosen === undefined || !CODE.test(chosen)) return;
      await vscode.commands.executeCommand("markdown.showPreviewToSide", vscode.Uri.from({ scheme: SCHEME, path: `${chosen}.md` }));
    }),
  ];
}

/** The code of the finding that the cursor is in. */
function atCursor(): string | undefined {
  const editor = vscode.window.activeTextEditor;
  if (editor?.document.languageId !== "vfl") return undefined;
  const here = vscode.languages
    .getDiagnostics(editor.document.uri)
    .find(({ range }) => range.contains(editor.selection.active));
  const code = here?.code;
  return typeof code === "object" ? `${code.value}` : code?.toString();
}

async function pick(list: () => Promise<string>): Promise<string | undefined> {
  const items = list().then((text) => {
    const { codes } = JSON.parse(text) as { codes: Record<string, string> };
    return Object.entries(codes).map(([label, description]) => ({ label, description }));
  });
  const chosen = await vscode.window.showQuickPick(items, { title: "Explain a code", matchOnDescription: true });
  return chosen?.label;
}
