"""Wide & Deep with tables of any size: what a step, the memory and a checkpoint cost, beside Keras's `fit`.

    python benchmarks/tables.py [--rows N …] [--peer-rows N …] [--batch N] [--rounds N] [--steps N]
                                [--penalty] [--json FILE]

specs/wide_deep, split over two parties in one process, with `--rows` rows of 80 floats in all tables
together (default 20,000 and 400,000), Adam and FTRL. Each size is in a process of its own, and they take
turns. A batch reads as many distinct rows of a small table as of a large one, which lie all over it, so that
what differs is the table alone. Compared are the rows a second of CPU of a step with those of the smallest
table; resident memory with the bytes of tables and what is kept for their rows; the bytes of a checkpoint
some steps after one with all rows with that one. `--peer-rows` (default 20,000) are sizes at which the same
model without a split is trained by `fit` in Keras, if it is installed: rows a second. Its one optimizer is
Adam; what the two train is alike, not equal. `--penalty` keeps the spec's penalty, which moves all rows in
every step.

The full size is `--rows 20000 1000000 10000000 --peer-rows 1000000`: it takes 12 GB of memory, and as much of
disk; `VFLC_TABLES=FOLDER` in the environment puts tables into mapped files.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import resource
import statistics
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from contest import show
from vflc_runtime.run.checkpoints import Checkpoints, CheckpointToWrite, RunProgress
from vflc_runtime.run.large_tables import large_tables
from vflc_runtime.run.row_changes import size_of
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = Path(__file__).resolve().parents[1] / "specs" / "wide_deep" / "wide_deep.vfl"
DISTINCT = 10_000
"""Rows of a table of which a batch draws, whatever its size."""
WIDTHS, UNITS, SIDES = 80, (1024, 512, 256, 128), {"leader": (13, 7), "follower": (0, 19)}
"""Of the spec: its vectors, its layers, and how many numbers and categories a party has."""
Array = np.ndarray[Any, Any]
Result = dict[str, Any]


def text(rows: int, penalty: bool) -> str:
    """The spec with tables of so many rows a party."""
    found = SPEC.read_text().replace("200000", str(rows))
    return found if penalty else re.sub(r" \+ l2\(.*\)", "", found)


class Draws:
    """Ids that lie all over a table of so many rows, as many distinct ones in a batch of any table."""

    def __init__(self, rows: int, batch: int) -> None:
        self._stride, self._batch, self._random = max(1, rows // DISTINCT), batch, np.random.default_rng(1)
        self._distinct = min(rows, DISTINCT)
        self.begin()

    def begin(self) -> None:
        """Another batch: of each group of rows another row."""
        self._offsets = self._random.integers(0, self._stride, self._distinct)

    def ids(self) -> Array:
        """A column of ids, int32 [batch]."""
        drawn = self._random.integers(0, self._distinct, self._batch)
        return np.asarray(drawn * self._stride + self._offsets[drawn], np.int32)

    def numbers(self) -> Array:
        """A column of numbers, float32 [batch, 1]."""
        return self._random.random((self._batch, 1), np.float32)

    def labels(self) -> Array:
        """A column of zeros and ones, float32 [batch, 1]."""
        return self._random.integers(0, 2, (self._batch, 1)).astype(np.float32)


class Ours:
    """vflc."""

    def __init__(self, bundle: Path, rows: int, batch: int) -> None:
        before, start = resident(), time.perf_counter()
        self._session = Session(bundle, programs=("train",))
        self.begin_seconds, self._before = time.perf_counter() - start, before
        self._inputs = [i for plan in self._session.bundle.plans.values() for i in plan.inputs.values()]
        self._draws, self._batch = Draws(rows, batch), batch

    def steps(self, count: int) -> tuple[float, float]:
        """Wall and CPU seconds of so many steps."""
        drawn = [self._drawn() for _ in range(count)]
        wall, cpu = time.perf_counter(), time.process_time()
        for inputs in drawn:
            self._session.step(inputs, self._batch)
        return time.perf_counter() - wall, time.process_time() - cpu

    def _drawn(self) -> Mapping[str, Array]:
        draws = self._draws
        draws.begin()
        return {
            each.id: draws.labels() if each.label else draws.ids() if each.dtype == "int" else draws.numbers()
            for each in self._inputs
        }

    def cost(self, steps: int) -> dict[str, Any]:
        """Memory beside the tables' own, and bytes and seconds of two checkpoints, so many steps apart."""
        engines = self._session.engines
        found: dict[str, Any] = {"begin_seconds": self.begin_seconds, "resident": resident() - self._before}
        found["tables"] = sum(engine.tables.nbytes for engine in engines.values())  # type: ignore[attr-defined]
        with tempfile.TemporaryDirectory() as folder:
            checkpoints, large = Checkpoints(Path(folder)), large_tables(engines)
            for name in ("first", "second") if large else ():
                start, done = time.perf_counter(), self._session.steps
                state = {place: each.state(done) for place, each in large.items()}
                changed = {place: each.tables.changed() for place, each in large.items()}
                path = checkpoints.write(CheckpointToWrite(RunProgress(step=done), state, changed), {})
                found |= {name: size_of(path), f"{name}_seconds": time.perf_counter() - start}
                for each in large.values():
                    each.tables.saved()
                self.steps(steps)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return found | {"peak": peak - self._before}


class Keras:
    """The same model without a split, by `model.fit`."""

    def __init__(self, _: Path, rows: int, batch: int) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras
        from keras import layers, ops

        given, parts = [], []
        for numbers, categories in SIDES.values():
            ids = keras.Input((categories,), dtype="int32")
            values = keras.Input((numbers,)) if numbers else None
            given += [ids] if values is None else [ids, values]
            looked = []
            for width in (1, WIDTHS):
                table = layers.Embedding(rows, width)
                vectors = [table(ids)]
                if values is not None:
                    vectors.append(table(ops.arange(numbers))[None] * values[:, :, None])
                looked.append(layers.Concatenate(axis=1)(vectors) if len(vectors) > 1 else vectors[0])
            deep = layers.Flatten()(looked[1])
            for units in UNITS:
                deep = layers.Dense(units, "relu")(deep)
            parts += [ops.sum(looked[0], axis=1), layers.Dense(1)(deep)]
        self._model = keras.Model(given, layers.Dense(1)(layers.Concatenate()(parts)))
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        self._model.compile(keras.optimizers.Adam(3.5e-4, epsilon=1e-8), loss)
        self._draws, self._batch = Draws(rows, batch), batch

    def steps(self, count: int) -> tuple[float, float]:
        """Wall and CPU seconds of so many steps."""
        columns: list[list[Array]] = []
        for _ in range(count):
            self._draws.begin()
            columns.append(self._drawn())
        x = [np.concatenate(part) for part in zip(*columns, strict=True)]
        y = np.concatenate([self._draws.labels() for _ in range(count)])
        wall, cpu = time.perf_counter(), time.process_time()
        self._model.fit(x, y, batch_size=self._batch, verbose=0, shuffle=False)
        return time.perf_counter() - wall, time.process_time() - cpu

    def _drawn(self) -> list[Array]:
        made, draws = [], self._draws
        for numbers, categories in SIDES.values():
            made.append(np.stack([draws.ids() for _ in range(categories)], axis=1))
            if numbers:
                made.append(np.concatenate([draws.numbers() for _ in range(numbers)], axis=1))
        return made


def resident() -> int:
    """Bytes of this process that lie in memory, those of mapped files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def serve(pipe: Connection, kind: str, bundle: Path, rows: int, batch: int) -> None:
    """One side at one size, which does what it is asked."""
    side: Any = {"vflc": Ours, "keras": Keras}[kind](bundle, rows, batch)
    while (asked := pipe.recv()) is not None:
        method, steps = asked
        pipe.send(getattr(side, method)(steps))


class Side:
    """One side at one size, in a process of its own; `rows` are of both parties together."""

    def __init__(self, kind: str, folder: Path, rows: int, batch: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.kind, self.rows, self.rates = kind, rows, list[tuple[float, float]]()
        self._batch = batch
        self._pipe, end = context.Pipe()
        given = (end, kind, folder / str(rows), rows // len(SIDES), batch)
        self._process = context.Process(target=serve, args=given, daemon=True)
        self._process.start()
        end.close()

    def steps(self, count: int, counts: bool) -> None:
        """Trains, and keeps the rows a second of wall and of CPU where it `counts`."""
        spent = self._ask("steps", count)
        if counts:
            self.rates.append((count * self._batch / spent[0], count * self._batch / spent[1]))

    def cost(self, steps: int) -> dict[str, Any]:
        """See `Ours.cost`."""
        return dict(self._ask("cost", steps))

    def _ask(self, *asked: Any) -> Any:
        self._pipe.send(asked)
        return self._pipe.recv()

    def close(self) -> None:
        """Ends the process."""
        self._pipe.send(None)
        self._process.join()


def measure(options: argparse.Namespace) -> list[Result]:
    """All sides in turn."""
    with tempfile.TemporaryDirectory() as folder:
        for rows in {*options.rows, *options.peer_rows}:
            spec = SourceText("tables.vfl", text(rows // len(SIDES), options.penalty))
            compile_source(spec).write(Path(folder) / str(rows))
        kinds = [("vflc", rows) for rows in sorted({*options.rows, *options.peer_rows})]
        kinds += [("keras", rows) for rows in options.peer_rows]
        sides = [Side(kind, Path(folder), rows, options.batch) for kind, rows in kinds]
        for index in range(options.rounds + 1):
            for side in sides:
                side.steps(options.steps, bool(index))
        ours = {side.rows: side for side in sides if side.kind == "vflc"}
        found = [beside(side, ours[side.rows], options) for side in sides if side.kind == "keras"]
        smallest = ours[min(ours)]
        for rows, side in ours.items():
            if side is not smallest:
                name = f"CPU of a step at {rows:,} rows beside {smallest.rows:,}"
                found.append(compared(name, options, side, smallest, 1))
            found += costs(side.rows, side.cost(options.steps), options)
        for side in sides:
            side.close()
    return found


def beside(peer: Side, ours: Side, options: argparse.Namespace) -> Result:
    """vflc beside Keras at one size; `cpu_ratio` is of CPU, where others use the machine meanwhile."""
    found = compared(f"tables of {peer.rows:,} rows beside Keras", options, ours, peer, 0)
    ratios = [a[1] / b[1] for a, b in zip(ours.rates, peer.rates, strict=True)]
    return found | {"cpu_ratio": statistics.median(ratios)}


def compared(name: str, options: argparse.Namespace, ours: Side, peer: Side, what: int) -> Result:
    """Rows a second of wall (0) or CPU (1), the median of both and of the ratio within each round."""
    a, b = ([rate[what] for rate in side.rates] for side in (ours, peer))
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    found = {"name": name, "batch": options.batch, "ours": statistics.median(a), "peer": statistics.median(b),
             "ratio": statistics.median(ratios), "unit": "rows/s", "rounds": ratios}  # fmt: skip
    show(found)
    return found


def costs(rows: int, cost: dict[str, Any], options: argparse.Namespace) -> list[Result]:
    """Memory beside the tables' own bytes, and a checkpoint of what changed beside one of all rows."""
    pairs = {"memory": ("resident", "tables")}
    if "first" in cost:
        pairs[f"checkpoint after {options.steps} steps"] = ("second", "first")
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
    parser.add_argument("--steps", type=int, default=10, help="a round (default 10)")
    parser.add_argument("--penalty", action="store_true", help="keep the penalty of all rows")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    options = parser.parse_args()
    if find_spec("keras") is None or find_spec("tensorflow") is None:
        options.peer_rows = []
    results = measure(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
