// Programs that run in a terminal, with their arguments as they are: no shell reads them.
import * as vscode from "vscode";

/** Runs a program in a terminal of its own and gives its exit code. */
export async function inTerminal(name: string, program: string, args: string[], cwd?: string): Promise<number | undefined> {
  const run = new vscode.ProcessExecution(program, args, cwd === undefined ? {} : { cwd });
  const scope = vscode.workspace.workspaceFolders?.[0] ?? vscode.TaskScope.Global;
  const task = new vscode.Task({ type: "vflc", name }, scope, name, "vflc", run, []);
  task.presentationOptions = { reveal: vscode.TaskRevealKind.Always, panel: vscode.TaskPanelKind.Shared, clear: true, showReuseMessage: false };
  return new Promise((resolve, reject) => {
    let running: vscode.TaskExecution | undefined;
    const ended = vscode.tasks.onDidEndTaskProcess(({ execution, exitCode }) => {
      if (execution !== running && execution.task.name !== name) return;
      ended.dispose();
      resolve(exitCode);
    });
    vscode.tasks.executeTask(task).then((execution) => (running = execution), (error) => {
      ended.dispose();
      reject(error);
    });
  });
}
