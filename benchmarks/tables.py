"""Wide & Deep with tables of any size: what a step, the memory and a checkpoint cost, beside Keras's `fit`.

    python benchmarks/tables.py [--rows N …] [--peer-rows N …] [--batch N] [--rounds N] [--steps N]
                                [--all-rows] [--limit MIB] [--penalty] [--json FILE]

specs/wide_deep, split over two parties in one process, with `--rows` rows of 80 floats in all tables
together (default 20,000 and 400,000), Adam and FTRL. Each size is in a process of its own, and they take
turns. A batch reads as many distinct rows of a small table as of a large one, which lie all over it, so that
what differs is the table alone. Compared are the rows a second of CPU of a step with those of the smallest
table; resident memory with the bytes of tables and what is kept for their rows; the bytes of a checkpoint
some steps after one with all rows with that one. `--penalty` keeps the spec's penalty, which moves all rows
in every step.

`--peer-rows` (default 20,000) are sizes at which the same model without a split is trained by `fit` in Keras,
if it is installed: rows a second. Its one optimizer is Adam; what the two train is alike, not equal. Beside
it are also vflc with `precision bfloat16`, where there are kernels for that, and the matrix products of the
layers alone, by numpy's BLAS: to compare with, and no bound, as other kernels may be faster.

With `--all-rows` every row is read, one as often as the other, and a round has as many steps as that takes.
`--limit` lets the process of the largest table have no more memory than that, mapped files included, in a
control group, which needs Linux and a user who may make one. Tables that take more than half of that lie in
mapped files.

The full size is `--rows 20000 1000000 10000000 --peer-rows 1000000`: it takes 12 GB of memory, and as much of
disk; `VFLC_TABLES=FOLDER` in the environment puts tables into mapped files.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import vflc_kernels
from contest import result, show
from table_sides import SIDES, Side

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = Path(__file__).resolve().parents[1] / "specs" / "wide_deep" / "wide_deep.vfl"
BFLOAT16 = "vflc, bfloat16"
STEPS = 10
"""A round, and between checkpoints."""
Result = dict[str, Any]


def text(rows: int, penalty: bool) -> str:
    """The spec with tables of so many rows a party."""
    found = SPEC.read_text().replace("200000", str(rows))
    return found if penalty else re.sub(r" \+ l2\(.*\)", "", found)


def compiled(rows: int, options: argparse.Namespace, folder: Path, precision: str) -> Path:
    """The bundle with so many rows in all tables."""
    spec, bundle = (
        SourceText("tables.vfl", text(rows // len(SIDES), options.penalty)),
        folder / f"{rows}-{precision}",
    )
    if not bundle.exists():
        compile_source(spec, overrides={"precision": precision}).write(bundle)
    return bundle


def started(options: argparse.Namespace, folder: Path) -> list[Side]:
    """All sides, the largest table of vflc with less memory where that is asked."""
    sizes = sorted({*options.rows, *options.peer_rows})
    kinds = [("vflc", rows) for rows in sizes]
    for rows in options.peer_rows:
        kinds += [("keras", rows), ("products", rows)]
        kinds += [(BFLOAT16, rows)] if vflc_kernels.products(bfloat16=True) is not None else []
    found = []
    for kind, rows in kinds:
        limit = options.limit << 20 if options.limit and (kind, rows) == ("vflc", sizes[-1]) else None
        bundle = compiled(rows, options, folder, "bfloat16" if kind == BFLOAT16 else "float32")
        try:
            found.append(Side(kind, bundle, rows, options.batch, options.all_rows, limit))
        except OSError as error:
            sys.exit(f"memory cannot be limited here: {error}")
    return found


def measure(options: argparse.Namespace) -> list[Result]:
    """All sides in turn."""
    with tempfile.TemporaryDirectory() as folder:
        sides = started(options, Path(folder))
        for index in range(options.rounds + 1):
            for side in sides:
                side.steps(options.steps or steps_for_all(side.rows, options.batch), bool(index))
        ours = {side.rows: side for side in sides if side.kind == "vflc"}
        found = [line for rows in options.peer_rows for line in beside_keras(sides, rows, options)]
        smallest = ours[min(ours)]
        for rows, side in ours.items():
            if side is not smallest:
                name = f"CPU of a step at {rows:,} rows beside {smallest.rows:,}"
                found.append(compared(name, options, side, smallest, 1))
                found.append(compared(name.replace("CPU", "seconds"), options, side, smallest, 0))
            found += costs(side.rows, side.cost(STEPS), options)
        for side in sides:
            side.close()
    return found


def steps_for_all(rows: int, batch: int) -> int:
    """Steps in which every row is read, also by the party with the fewest columns."""
    return -(-rows // len(SIDES) // (batch * min(categories for _, categories in SIDES.values())))


def beside_keras(sides: list[Side], rows: int, options: argparse.Namespace) -> list[Result]:
    """vflc in both precisions, and the products alone, beside Keras at one size."""
    of = {side.kind: side for side in sides if side.rows == rows}
    names = {"vflc": "vflc", BFLOAT16: "vflc in bfloat16", "products": "products alone"}
    return [
        beside(f"{name}, {rows:,} rows, beside Keras", of["keras"], of[kind], options)
        for kind, name in names.items()
        if kind in of
    ]


def beside(name: str, peer: Side, ours: Side, options: argparse.Namespace) -> Result:
    """One side beside Keras; `cpu_ratio` is of CPU, where others use the machine meanwhile."""
    found = compared(name, options, ours, peer, 0)
    ratios = [a[1] / b[1] for a, b in zip(ours.rates, peer.rates, strict=True)]
    return found | {"cpu_ratio": statistics.median(ratios)}


def compared(name: str, options: argparse.Namespace, ours: Side, peer: Side, what: int) -> Result:
    """Rows a second of wall (0) or CPU (1), the median of both and of the ratio within each round."""
    a, b = ([rate[what] for rate in side.rates] for side in (ours, peer))
    found = result(name, options.batch, a, b)
    show(found)
    return found


def costs(rows: int, cost: dict[str, Any], options: argparse.Namespace) -> list[Result]:
    """Memory beside the tables' own bytes, and a checkpoint of what changed beside one of all rows."""
    pairs = {"memory": ("resident", "tables"), "anonymous memory": ("anonymous", "tables")}
    if "first" in cost:
        pairs["anonymous memory in checkpoints"] = ("checkpoints", "tables")
        pairs["anonymous memory in resumption"] = ("resumption", "tables")
        pairs[f"checkpoint after {STEPS} steps"] = ("second", "first")
    found = []
    for name, (ours, peer) in pairs.items():
        a, b = cost[ours] / (1 << 20), cost[peer] / (1 << 20)
        found.append({"name": f"{name} at {rows:,} rows", "batch": options.batch, "ours": a, "peer": b,
                      "ratio": a / b, "unit": "MiB", **cost})  # fmt: skip
        show(found[-1])
    return found


def main() -> None:
    """Measures, prints and writes."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 400_000], metavar="N")
    parser.add_argument("--peer-rows", type=int, nargs="*", default=[20_000], metavar="N")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3, help="of each side (default 3)")
    parser.add_argument("--steps", type=int, help=f"a round (default {STEPS})")
    parser.add_argument("--all-rows", action="store_true", help="read every row, in so many steps a round")
    parser.add_argument("--limit", type=int, metavar="MIB", help="memory of the process of the largest table")
    parser.add_argument("--penalty", action="store_true", help="keep the penalty of all rows")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    options = parser.parse_args()
    options.steps = options.steps or (None if options.all_rows else STEPS)
    if find_spec("keras") is None or find_spec("tensorflow") is None:
        options.peer_rows = []
    results = measure(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
