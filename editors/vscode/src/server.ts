// The language server: started with the vflc that is found, again when another one is, and what the status bar says.
import { spawn, type ChildProcess } from "node:child_process";
import { homedir } from "node:os";
import * as vscode from "vscode";
import { CloseAction, ErrorAction, LanguageClient, State } from "vscode-languageclient/node";
import { find, type Vflc } from "./find";

const RESTARTS = 3;

export class Server implements vscode.Disposable {
  vflc: Vflc | undefined;
  client: LanguageClient | undefined;
  private readonly log = vscode.window.createOutputChannel("vflc", { log: true });
  private readonly status = vscode.languages.createLanguageStatusItem("vflc", { language: "vfl" });
  private readonly changed = new vscode.EventEmitter<void>();
  private turn: Promise<void> = Promise.resolve();
  private offered = false;
  /** When vflc was found, or is not there any more. */
  readonly onDidChange = this.changed.event;

  constructor() {
    this.status.name = "vflc";
  }

  /** Looks for vflc and starts its server, after what is under way. */
  restart(): Promise<void> {
    this.turn = this.turn.then(() => this.start()).catch((error) => this.log.error(error));
    return this.turn;
  }

  showLog(): void {
    this.log.show();
  }

  async dispose(): Promise<void> {
    await this.turn;
    await this.stop();
    this.status.dispose();
    this.changed.dispose();
    this.log.dispose();
  }

  private async start(): Promise<void> {
    await this.stop();
    this.status.busy = true;
    this.say("vflc …", "looking for vflc");
    const found = await find();
    this.status.busy = false;
    this.vflc = typeof found === "string" ? undefined : found;
    await vscode.commands.executeCommand("setContext", "vflc.found", this.vflc !== undefined);
    if (typeof found === "string") {
      this.log.warn(found);
      this.say("vflc is missing", found, "vflc.install", "Install…");
      this.offer(found);
    } else {
      this.log.info(`vflc ${found.version}: ${found.path}`);
      await this.connect(found);
    }
    this.changed.fire();
  }

  private async connect(vflc: Vflc): Promise<void> {
    let last = ""; // what it says at its end, which is why it ends
    const run = async (): Promise<ChildProcess> => {
      const child = spawn(vflc.path, ["lsp"], { cwd: homedir(), windowsHide: true });
      child.stderr.on("data", (data: Buffer) => {
        last = data.toString().trim().split("\n").at(-1) || last;
      });
      return child;
    };
    let ends = 0;
    const client: LanguageClient = new LanguageClient("vflc", "vflc", run, {
      documentSelector: ["file", "untitled"].map((scheme) => ({ scheme, language: "vfl" })),
      outputChannel: this.log,
      traceOutputChannel: this.log,
      markdown: { isTrusted: false, supportHtml: false },
      initializationFailedHandler: () => false,
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => ({
          action: this.client === client && ++ends <= RESTARTS ? CloseAction.Restart : CloseAction.DoNotRestart,
          handled: true,
        }),
      },
      middleware: { handleDiagnostics: (uri, found, next) => next(uri, found.map(withPage)) },
    });
    client.onDidChangeState(({ newState }) => {
      if (newState === State.Running) this.say(`vflc ${vflc.version}`, vflc.path, "vflc.restart", "Restart");
      else if (newState === State.Stopped && this.client === client && ends > RESTARTS) this.failed(last);
    });
    try {
      await client.start();
      this.client = client;
    } catch (error) {
      this.log.error(`${error}`);
      await client.dispose().catch(() => undefined);
      this.failed(last);
    }
  }

  private async stop(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    await client?.dispose().catch((error) => this.log.error(error));
  }

  private failed(why: string): void {
    this.say("vflc lsp failed", why, "vflc.showLog", "Show Log");
    this.status.severity = vscode.LanguageStatusSeverity.Error;
    this.offer(why.replace(/^Error: /, "") || "vflc lsp ended at its start");
  }

  private say(text: string, detail: string, command?: string, title = ""): void {
    this.status.text = text;
    this.status.detail = detail;
    this.status.severity = vscode.LanguageStatusSeverity.Information;
    this.status.command = command === undefined ? undefined : { command, title };
  }

  /** Once in a session: whoever closes this has the entry in the status bar. */
  private offer(why: string): void {
    if (this.offered) return;
    this.offered = true;
    const [install, set] = ["Install…", "Set Path"];
    const choices = vscode.workspace.isTrusted ? [install, set] : [set];
    const told = vscode.workspace.isTrusted ? "" : " Environments in this folder are not used until it is trusted.";
    void vscode.window
      .showWarningMessage(`${why}. Colours and snippets work; findings, hover and the graph need it.${told}`, ...choices)
      .then((chosen) => {
        if (chosen === install) void vscode.commands.executeCommand("vflc.install");
        if (chosen === set) void vscode.commands.executeCommand("workbench.action.openSettings", "vflc.path");
      });
  }
}

/** A finding's code leads to its page. */
function withPage(found: vscode.Diagnostic): vscode.Diagnostic {
  const code = typeof found.code === "object" ? found.code.value : found.code;
  if (typeof code === "string") {
    const target = vscode.Uri.parse(`command:vflc.explain?${encodeURIComponent(JSON.stringify([code]))}`);
    found.code = { value: code, target };
  }
  return found;
}
