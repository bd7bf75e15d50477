"""What benchmarks/tables.py lets take turns: processes that train Wide & Deep with tables of some size."""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from process_memory import Group, anonymous, most_anonymous, resident
from products import Product, seconds
from vflc_runtime.run.checkpoints import Checkpoints, CheckpointToWrite, RunProgress, read_checkpoint
from vflc_runtime.run.large_tables import large_tables
from vflc_runtime.run.row_changes import size_of
from vflc_runtime.run.session import Session

DISTINCT = 10_000
"""Rows of a table of which a batch draws, whatever its size."""
WIDTHS, UNITS, SIDES = 80, (1024, 512, 256, 128), {"leader": (13, 7), "follower": (0, 19)}
"""Of the spec: its vectors, its layers, and how many numbers and categories a party has."""
DRAWN = 10
"""Steps that are drawn before they are timed."""
Array = np.ndarray[Any, Any]


class Draws:
    """Ids that lie all over a table of so many rows, as many distinct ones in a batch of any table.

    Where `everywhere`, each row is read as often as any other, one after the other in an order of chance.
    """

    def __init__(self, rows: int, batch: int, everywhere: bool = False) -> None:
        self._stride, self._batch, self._random = max(1, rows // DISTINCT), batch, np.random.default_rng(1)
        self._distinct = min(rows, DISTINCT)
        self._order = self._random.permutation(rows).astype(np.int32) if everywhere else None
        self._next = 0
        self.begin()

    def begin(self) -> None:
        """Another batch: of each group of rows another row."""
        self._offsets = self._random.integers(0, self._stride, self._distinct)

    def ids(self) -> Array:
        """A column of ids, int32 [batch]."""
        if self._order is not None:
            self._next += self._batch
            at = np.arange(self._next - self._batch, self._next)
            return self._order.take(at, mode="wrap")
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

    def __init__(self, bundle: Path, rows: int, batch: int, everywhere: bool) -> None:
        before, start = resident(), time.perf_counter()
        self._session = Session(bundle, programs=("train",))
        self.begin_seconds, self._before = time.perf_counter() - start, before
        self._inputs = [i for plan in self._session.bundle.plans.values() for i in plan.inputs.values()]
        self._draws = {party: Draws(rows, batch, everywhere) for party in SIDES}
        self._batch = batch

    def steps(self, count: int) -> tuple[float, float]:
        """Wall and CPU seconds of so many steps."""
        spent = np.zeros(2)
        for start in range(0, count, DRAWN):
            drawn = [self._drawn() for _ in range(min(DRAWN, count - start))]
            wall, cpu = time.perf_counter(), time.process_time()
            for inputs in drawn:
                self._session.step(inputs, self._batch)
            spent += time.perf_counter() - wall, time.process_time() - cpu
        return float(spent[0]), float(spent[1])

    def _drawn(self) -> Mapping[str, Array]:
        for draws in self._draws.values():
            draws.begin()
        return {each.id: self._column(each) for each in self._inputs}

    def _column(self, column: Any) -> Array:
        draws = self._draws[column.party]
        return draws.labels() if column.label else draws.ids() if column.dtype == "int" else draws.numbers()

    def cost(self, steps: int) -> dict[str, Any]:
        """Memory beside the tables' own, and bytes and seconds of two checkpoints, so many steps apart."""
        engines = self._session.engines
        found: dict[str, Any] = {"begin_seconds": self.begin_seconds, "resident": resident() - self._before}
        found |= {"anonymous": anonymous(), "steps": self._session.steps}
        found["tables"] = sum(engine.tables.nbytes for engine in engines.values())  # type: ignore[attr-defined]
        with tempfile.TemporaryDirectory() as folder:
            checkpoints, large = Checkpoints(Path(folder)), large_tables(engines)
            for name in ("first", "second") if large else ():
                start, done = time.perf_counter(), self._session.steps
                with most_anonymous(found, "checkpoints"):
                    state = {place: each.state(done) for place, each in large.items()}
                    changed = {place: each.tables.changed() for place, each in large.items()}
                    path = checkpoints.write(CheckpointToWrite(RunProgress(step=done), state, changed), {})
                found[f"{name}_rows"] = sum(len(rows) for each in changed.values() for rows in each.values())
                found |= {name: size_of(path), f"{name}_seconds": time.perf_counter() - start}
                for each in large.values():
                    each.tables.saved()
                self.steps(steps)
            if large:
                start = time.perf_counter()
                with most_anonymous(found, "resumption"):
                    kinds = read_checkpoint(path).tensors
                    for place, each in large.items():
                        own = kinds[place]
                        each.load({**own["model"], **own["stored"]}, own["slots"], done)
                found["resumption_seconds"] = time.perf_counter() - start
                self.steps(1)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return found | {"peak": peak - self._before}


class Keras:
    """The same model without a split, by `model.fit`."""

    def __init__(self, _: Path, rows: int, batch: int, everywhere: bool) -> None:
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
        self._draws, self._batch = Draws(rows, batch, everywhere), batch

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


class Products:
    """The matrix products of the layers alone, forward and backward, by numpy's BLAS."""

    def __init__(self, _: Path, rows: int, batch: int, everywhere: bool) -> None:
        draw, self._products = np.random.default_rng(1), list[Product]()
        for fields in (sum(side) for side in SIDES.values()):
            for size, units in zip((fields * WIDTHS, *UNITS), UNITS, strict=False):
                x, w, dy = (
                    draw.random(shape, np.float32) for shape in ((batch, size), (size, units), (batch, units))
                )
                for a, b in ((x, w), (x.T, dy), (dy, w.T)):
                    self._products.append((a, b, a @ b))

    def steps(self, count: int) -> tuple[float, float]:
        """Wall and CPU seconds of so many steps."""
        return seconds(self._products, count)


KINDS = {"vflc": Ours, "vflc, bfloat16": Ours, "keras": Keras, "products": Products}


def serve(pipe: Connection, kind: str, *given: Any) -> None:
    """One side at one size, which does what it is asked."""
    pipe.recv()  # until its memory is limited
    side: Any = KINDS[kind](*given)
    while (asked := pipe.recv()) is not None:
        method, steps = asked
        pipe.send(getattr(side, method)(steps))


class Side:
    """One side at one size, in a process of its own; `rows` are of both parties together."""

    def __init__(
        self, kind: str, bundle: Path, rows: int, batch: int, everywhere: bool, limit: int | None
    ) -> None:
        self._group = Group(limit) if limit else None
        context = multiprocessing.get_context("spawn")
        self.kind, self.rows, self.rates = kind, rows, list[tuple[float, float]]()
        self._batch = batch
        self._pipe, end = context.Pipe()
        given = (end, kind, bundle, rows // len(SIDES), batch, everywhere)
        self._process = context.Process(target=serve, args=given, daemon=True)
        self._process.start()
        end.close()
        if self._group is not None:
            self._group.take(self._process.pid or 0)
        self._pipe.send("begin")

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
        if self._group is not None:
            self._group.close()
