"""Processor time from a keystroke to diagnostics, and to what else an editor asks for then.

`python benchmarks/editing.py`: specs of 250, 500 and 1,000 lines, of columns and of layers, in milliseconds.
Each number is the least of several.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import process_time

from vflc.lsp import coloured, completion, findings, hints
from vflc.lsp.analysis import Document

SPEC = (Path(__file__).parents[1] / "specs" / "deepfm" / "deepfm.vfl").read_text("utf-8")
TIMES = 5


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


def least(what: Callable[[], object]) -> float:
    """Milliseconds of processor time."""
    taken = []
    for _ in range(TIMES):
        start = process_time()
        what()
        taken.append(1000 * (process_time() - start))
    return min(taken)


def shown(document: Document) -> None:
    """What an editor asks for once a text has changed."""
    hints.lenses(document)
    hints.hints(document, 0, len(document.text))
    coloured.tokens(document)


def main() -> None:
    """Prints a line for each spec."""
    print(f"{'spec':>14} {'diagnostics':>12} {'the rest':>9} {'completion':>11}")
    for name, make in (("columns", of_columns), ("layers", of_layers)):
        for lines in (250, 500, 1000):
            document = Document(make(lines - SPEC.count("\n")))
            check = least(lambda of=document: findings.squiggles(Document(of.text, None, of)))
            rest = least(lambda of=document: shown(Document(of.text, None, of))) - check
            complete = least(lambda of=document: completion.proposals(of, len(of.text) // 2))
            print(f"{f'{lines:,} {name}':>14} {check:12.0f} {rest:9.0f} {complete:11.0f}")


if __name__ == "__main__":
    main()
