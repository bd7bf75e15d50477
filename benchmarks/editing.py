"""Processor time from a keystroke to diagnostics, and to what else an editor asks for then.

`python benchmarks/editing.py`: specs of 250, 500 and 1,000 lines, of columns and of layers, in milliseconds,
user and system together. A keystroke is a blank more in a line of the middle; each number is the median of
several. Python's garbage collector is off, as in the server, which runs it once nothing is typed.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable
from pathlib import Path
from statistics import median

from vflc.lsp.workspace import Workspace

SPEC = (Path(__file__).parents[1] / "specs" / "deepfm" / "deepfm.vfl").read_text("utf-8")
TIMES = 9
URI = "file:///spec.vfl"
TEXT = {"textDocument": {"uri": URI}}


def of_columns(lines: int) -> str:
    """A spec with so many lines more, each a column."""
    columns = "".join(f"  feature c{i}: int -> index(100)\n" for i in range(lines))
    granted = "".join(f", c{i}" for i in range(lines))
    text = SPEC.replace("  feature UserID:", f"{columns}  feature UserID:")
    return text.replace("Age, Occupation\n", f"Age, Occupation{granted}\n")


def of_layers(lines: int) -> str:
    """A spec with so many lines more, each a layer."""
    layers = "".join(f"h{i} = dense(h{i - 1}, 8, activation = relu)\n" for i in range(1, lines))
    return SPEC.replace("predict liked", f"h0 = b.deep\n{layers}\npredict liked")


def used() -> float:
    """Milliseconds of processor time so far."""
    now = resource.getrusage(resource.RUSAGE_SELF)
    return 1000 * (now.ru_utime + now.ru_stime)


def measured(text: str) -> dict[str, float]:
    """Medians over keystrokes: of diagnostics, of what an editor asks for then, and of a completion."""
    workspace, line = Workspace(), text.count("\n") // 2
    workspace.open(URI, text)
    workspace.diagnostics(URI)
    whole = {"start": {"line": 0, "character": 0}, "end": {"line": line * 3, "character": 0}}
    end = {"line": line, "character": len(text.split("\n")[line])}
    steps: dict[str, Callable[[], object]] = {
        "diagnostics": lambda: workspace.diagnostics(URI),
        "colours and hints": lambda: [
            workspace.ask("textDocument/semanticTokens/full", TEXT),
            workspace.ask("textDocument/inlayHint", {**TEXT, "range": whole}),
        ],
        "lenses": lambda: workspace.ask("textDocument/codeLens", TEXT),
        "completion": lambda: workspace.ask("textDocument/completion", {**TEXT, "position": end}),
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(TIMES):
        start = used()
        workspace.change(URI, [{"range": {"start": end, "end": end}, "text": " "}])
        for name, step in steps.items():
            step()
            taken[name].append(used() - start)
            start = used()
    return {name: median(each) for name, each in taken.items()}


def main() -> None:
    """Prints a line for each spec."""
    gc.disable()
    for name, make in (("columns", of_columns), ("layers", of_layers)):
        for lines in (250, 500, 1000):
            found = measured(make(lines - SPEC.count("\n")))
            told = ", ".join(f"{what} {each:.0f}" for what, each in found.items())
            print(f"{lines:,} lines of {name}: {told}")


if __name__ == "__main__":
    main()
