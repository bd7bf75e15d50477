// Which table each party of a spec has, for training on this machine: asked once, remembered for this folder.
import * as vscode from "vscode";

const FILES = { Tables: ["parquet", "csv", "tsv", "json", "jsonl", "ndjson", "gz"], All: ["*"] };

/** Each party that has columns, with its table; `undefined` where one was asked for and not given. */
export async function tablesOf(memory: vscode.Memento, spec: vscode.Uri): Promise<[string, string][] | undefined> {
  const parties = await partiesOf(spec);
  if (!parties.length) {
    void vscode.window.showWarningMessage("This spec has no party with columns.");
    return undefined;
  }
  const found: [string, string][] = [];
  for (const [index, party] of parties.entries()) {
    const key = `table ${spec.toString()} ${party}`;
    const source = await ask(`${party}'s table`, `Train (${index + 1} of ${parties.length})`, memory.get<string>(key));
    if (!source) return undefined;
    await memory.update(key, source);
    found.push([party, source]);
  }
  return found;
}

/** The parties that have columns, as the language server outlines them. */
async function partiesOf(spec: vscode.Uri): Promise<string[]> {
  const outline = await vscode.commands.executeCommand<vscode.DocumentSymbol[] | undefined>(
    "vscode.executeDocumentSymbolProvider",
    spec,
  );
  return (outline ?? [])
    .filter(({ kind, children }) => kind === vscode.SymbolKind.Namespace && children.length > 0)
    .map(({ name }) => name);
}

async function ask(what: string, title: string, last: string | undefined): Promise<string | undefined> {
  const file = { label: "$(folder-opened) A file…", detail: "CSV, Parquet or JSON" };
  const text = { label: "$(edit) Something else…", detail: "A glob of files, a SQL query, or a URL" };
  const before = last === undefined ? [] : [{ label: `$(history) ${last}`, detail: "As last time" }];
  const chosen = await vscode.window.showQuickPick([...before, file, text], { title, placeHolder: what });
  if (chosen === file) {
    const files = await vscode.window.showOpenDialog({ title: what, filters: FILES });
    return files?.[0]?.fsPath;
  }
  if (chosen === text) return vscode.window.showInputBox({ title, prompt: what, placeHolder: "s3://bucket/rows/*.parquet" });
  return chosen && last;
}
