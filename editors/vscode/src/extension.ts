import * as vscode from "vscode";
import { registerCommands } from "./commands";
import { install } from "./install";
import { GraphPanel } from "./panel";
import { registerPages } from "./pages";
import { Server } from "./server";

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const server = new Server();
  context.subscriptions.push(
    server,
    ...registerCommands(context, server),
    ...registerPages(server),
    ...GraphPanel.register(context, server),
    vscode.commands.registerCommand("vflc.install", () => install(server)),
    vscode.commands.registerCommand("vflc.restart", () => server.restart()),
    vscode.commands.registerCommand("vflc.showLog", () => server.showLog()),
    vscode.workspace.onDidGrantWorkspaceTrust(() => server.restart()),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("vflc.path")) void server.restart();
    }),
  );
  await server.restart();
}
