// The panel with the graph of the spec that is being edited: who computes what, and what crosses. The server draws
// it, `webview/panel.ts` shows it; nothing in the panel comes from elsewhere.
import { randomBytes } from "node:crypto";
import * as vscode from "vscode";
import type { FromPanel, Picture, ToPanel } from "./messages";
import type { Server } from "./server";

const PAUSE = 300; // milliseconds without a keystroke before the picture is drawn again
const VIEW = "vflc.graph";

export class GraphPanel {
  private static open: GraphPanel | undefined;

  static register(context: vscode.ExtensionContext, server: Server): vscode.Disposable[] {
    return [
      vscode.commands.registerCommand("vflc.showGraph", (uri?: vscode.Uri) => {
        const spec = uri ?? vscode.window.activeTextEditor?.document.uri;
        if (!spec) return;
        if (!GraphPanel.open) {
          const column = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true };
          const panel = vscode.window.createWebviewPanel(VIEW, "Graph", column, { enableScripts: true });
          GraphPanel.open = new GraphPanel(context, server, panel, spec);
        } else GraphPanel.open.show(spec);
        GraphPanel.open.panel.reveal(undefined, true);
      }),
      vscode.window.registerWebviewPanelSerializer(VIEW, {
        async deserializeWebviewPanel(panel, state: { uri?: string } | undefined) {
          if (!state?.uri || GraphPanel.open) panel.dispose();
          else GraphPanel.open = new GraphPanel(context, server, panel, vscode.Uri.parse(state.uri));
        },
      }),
    ];
  }

  private readonly watching: vscode.Disposable[] = [];
  /** By spec which blocks are folded, where the user has chosen. */
  private readonly folded = new Map<string, readonly string[]>();
  /** The URIs of texts that the picture names. */
  private sources = new Map<string, string>();
  private asked: vscode.CancellationTokenSource | undefined;
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    context: vscode.ExtensionContext,
    private readonly server: Server,
    private readonly panel: vscode.WebviewPanel,
    private uri: vscode.Uri,
  ) {
    const files = vscode.Uri.joinPath(context.extensionUri, "dist");
    panel.iconPath = vscode.Uri.joinPath(context.extensionUri, "media", "icon.svg");
    panel.webview.options = { enableScripts: true, localResourceRoots: [files] };
    panel.webview.html = page(panel.webview, files);
    panel.onDidDispose(() => this.dispose(), null, this.watching);
    panel.webview.onDidReceiveMessage((message: FromPanel) => this.told(message), null, this.watching);
    vscode.window.onDidChangeActiveTextEditor((editor) => {
      if (editor?.document.languageId === "vfl") this.show(editor.document.uri);
    }, null, this.watching);
    vscode.workspace.onDidChangeTextDocument(({ document }) => {
      if (document.languageId === "vfl") this.soon(); // also another file, which this one may use
    }, null, this.watching);
    server.onDidChange(() => this.soon(), null, this.watching);
  }

  private show(uri: vscode.Uri): void {
    if (uri.toString() === this.uri.toString()) return;
    this.uri = uri;
    void this.draw();
  }

  private soon(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.draw(), PAUSE);
  }

  private async draw(): Promise<void> {
    clearTimeout(this.timer);
    this.asked?.cancel();
    const { token } = (this.asked = new vscode.CancellationTokenSource());
    const uri = this.uri.toString();
    this.panel.title = `Graph: ${this.uri.path.split("/").at(-1)}`;
    const client = this.server.client;
    if (!client) return this.send({ type: "trouble", uri, text: "The graph needs vflc.", install: !this.server.vflc });
    try {
      await vscode.workspace.openTextDocument(this.uri); // the server knows what is open
      const params = { textDocument: { uri: client.code2ProtocolConverter.asUri(this.uri) }, folded: this.folded.get(uri) ?? null, styled: false };
      const picture = await client.sendRequest<Picture | null>("vflc/graph", params, token);
      if (token.isCancellationRequested) return;
      this.sources = new Map(Object.entries(picture?.sources ?? {}));
      if (picture) this.send({ type: "picture", uri, picture });
      else this.send({ type: "trouble", uri, text: "There is no graph yet: the spec's findings say why." });
    } catch (error) {
      if (token.isCancellationRequested) return;
      this.send({ type: "trouble", uri, text: `The graph cannot be drawn: ${error instanceof Error ? error.message : error}` });
    }
  }

  private send(message: ToPanel): void {
    void this.panel.webview.postMessage(message);
  }

  private told(message: FromPanel): void {
    if (message.type === "ready") void this.draw();
    else if (message.type === "install") void vscode.commands.executeCommand("vflc.install");
    else if (message.type === "fold" && message.folded.every((block) => typeof block === "string")) {
      this.folded.set(this.uri.toString(), message.folded);
      void this.draw();
    } else if (message.type === "open") void this.reveal(message.source, message.line, message.column);
  }

  /** The place in a text where something is written; what the server has not named is not opened. */
  private async reveal(source: string, line: number, column: number): Promise<void> {
    const found = this.sources.get(source);
    if (found === undefined || !Number.isInteger(line) || !Number.isInteger(column)) return;
    const uri = this.server.client?.protocol2CodeConverter.asUri(found) ?? vscode.Uri.parse(found);
    const at = new vscode.Position(Math.max(line - 1, 0), Math.max(column - 1, 0));
    const shown = vscode.window.visibleTextEditors.find(({ document }) => document.uri.toString() === uri.toString());
    const other = vscode.window.visibleTextEditors.find(({ document }) => document.languageId === "vfl");
    const viewColumn = (shown ?? other)?.viewColumn ?? vscode.ViewColumn.One;
    await vscode.window.showTextDocument(uri, { viewColumn, selection: new vscode.Range(at, at) });
  }

  private dispose(): void {
    clearTimeout(this.timer);
    this.asked?.cancel();
    GraphPanel.open = undefined;
    for (const each of this.watching) each.dispose();
  }
}

function page(webview: vscode.Webview, files: vscode.Uri): string {
  const nonce = randomBytes(16).toString("base64");
  const at = (name: string) => webview.asWebviewUri(vscode.Uri.joinPath(files, name)).toString();
  const policy = `default-src 'none'; style-src 'nonce-${nonce}'; script-src 'nonce-${nonce}'`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta http-equiv="Content-Security-Policy" content="${policy}">
  <link nonce="${nonce}" rel="stylesheet" href="${at("graph.css")}">
  <link nonce="${nonce}" rel="stylesheet" href="${at("panel.css")}">
</head>
<body>
  <div id="bar" role="toolbar" aria-label="Graph">
    <button id="fold" title="Fold all blocks">Fold all</button>
    <button id="unfold" title="Unfold all blocks">Unfold all</button>
    <button id="smaller" title="Zoom out (-)" aria-label="Zoom out">−</button>
    <button id="larger" title="Zoom in (+)" aria-label="Zoom in">+</button>
    <button id="fit" title="All of it (0)">Fit</button>
  </div>
  <p id="trouble" role="status" hidden><span></span> <button id="install" hidden>Install vflc…</button></p>
  <main id="frame"></main>
  <p id="told" aria-hidden="true"></p>
  <script nonce="${nonce}" src="${at("graph.js")}"></script>
  <script nonce="${nonce}" src="${at("panel.js")}"></script>
</body>
</html>`;
}
