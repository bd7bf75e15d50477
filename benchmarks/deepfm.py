"""DeepFM on MovieLens-shaped rows: vflc split over two parties against Keras on the unsplit model.

    python benchmarks/deepfm.py [--rows N] [--starts N] [--rounds N] [--json FILE]

Both train the same model on the same encoded rows, each in a process of its own as its users would,
in alternation, an epoch at a time; the ratio of each round's rows a second is taken within the round
and the median is reported, so that a machine whose speed drifts does not favour either. Both
processes are started anew `--starts` times, as one process of Keras was up to 1.7 times as fast as the
next at batch 4096, alone on the machine; why is not known. Loading, compiling and a first epoch to
warm up are not counted. Needs `vflc[keras]`.

Nothing is timed before both have shown that they do the same work: from the same weights and on the
same ten batches they have the same losses, to a stated share, or the program ends. vflc's rows catch up
with the steps that they missed, as if every row moved in every step, which it does in Keras's Adam.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import chain, count, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from extras import need
from vflc_runtime.data.batches import Order, gather
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.generate import generate
from vflc_runtime.run.session import Session

from vflc.driver import compile_spec

SPEC = Path(__file__).resolve().parent.parent / "specs" / "deepfm" / "deepfm.vfl"
BATCHES = (128, 1024, 4096)
FACTORS = 16
SIZES = {
    "a": {"UserID": 6041, "Gender": 2, "Age": 7, "Occupation": 21},
    "b": {"MovieID": 3953, "Genres": 18},
}
"""Of tables, by the use of the spec's block and by field."""
STEPS = 10
TOLERANCE = 1e-5
"""Of a loss, by which both sides may differ in any of the first steps; in float32, from the same weights."""
Array = np.ndarray[Any, Any]


def encoded_rows(bundle: Path, rows: int) -> dict[str, Array]:
    """Random rows that fit the spec, encoded as training would."""
    inputs: dict[str, Array] = {}
    encoders = {}
    for place in ("alice", "bob"):
        encoders |= json.loads((bundle / place / "encoders.json").read_text())["parties"]
    tables = generate({"parties": encoders}, rows, seed=1)
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        sources = {}
        for party, table in tables.items():
            sources[party] = str(Path(folder) / f"{party}.parquet")
            pq.write_table(table, sources[party])
        inputs = Dataset.load({"parties": encoders}, sources).inputs
    return inputs


class Ours:
    """vflc: two parties in one process, messages checked as between machines."""

    def __init__(self, bundle: Path, inputs: dict[str, Array], batch: int) -> None:
        self.session = Session(bundle, programs=("train",))
        self.inputs, self.batch, self.epochs = inputs, batch, 0
        self.order = Order(len(inputs["bob.liked"]), 0, 0.0, batch)

    def epoch(self, steps: int) -> float:
        start = time.perf_counter()
        for rows in islice(self.order.batches(self.epochs), steps):
            self.session.step(gather(self.inputs, rows), len(rows))
        self.epochs += 1
        return time.perf_counter() - start

    def weights(self) -> dict[str, Array]:
        return self.session.weights()

    def losses(self, batches: Sequence[Array]) -> Iterator[float]:
        return (self.session.step(gather(self.inputs, rows), len(rows)).loss for rows in batches)


class Keras:
    """The unsplit model in Keras' own way: Embedding and Dense layers, `model.fit`."""

    def __init__(self, inputs: dict[str, Array], batch: int) -> None:
        self.batch = batch
        genres = np.zeros((len(inputs["bob.Genres"]), SIZES["b"]["Genres"]), np.float32)
        rows, slots = np.nonzero(inputs["bob.Genres"] >= 0)
        genres[rows, inputs["bob.Genres"][rows, slots]] = 1
        names = ("alice.UserID", "alice.Gender", "alice.Age", "alice.Occupation", "bob.MovieID")
        self.x = [inputs[name] for name in names] + [genres]
        self.y = inputs["bob.liked"].astype(np.float32)
        self.model = keras_deepfm()

    def epoch(self, steps: int) -> float:
        start = time.perf_counter()
        count = min(steps * self.batch, len(self.y))
        self.model.fit(
            [x[:count] for x in self.x], self.y[:count], batch_size=self.batch, epochs=1, verbose=0
        )
        return time.perf_counter() - start

    def take(self, weights: dict[str, Array]) -> None:
        variables = self._variables()
        assert variables.keys() == weights.keys()
        for name, variable in variables.items():
            variable.assign(weights[name])

    def losses(self, batches: Sequence[Array]) -> Iterator[float]:
        """By `model.fit`, too, an epoch of one step for each, as they are asked for."""
        for rows in batches:
            fit = self.model.fit([x[rows] for x in self.x], self.y[rows], batch_size=len(rows), verbose=0)
            yield float(fit.history["loss"][0])

    def _variables(self) -> dict[str, Any]:
        """By their names in the spec: a table has its layer's, others that and `.kernel` or `.bias`."""
        return {
            layer.name if layer.name in TABLES else f"{layer.name}.{variable.name}": variable
            for layer in self.model.layers
            for variable in layer.weights
        }


TABLES = {f"{use}.{kind}.{field}" for use in SIZES for kind in ("e", "first") for field in SIZES[use]}


def keras_deepfm() -> Any:
    """The model of `specs/deepfm`, on ids and a multi-hot genre vector; layers have the spec's names."""
    warnings.filterwarnings("ignore", "Protobuf gencode version", UserWarning)
    import keras
    from keras import layers, ops

    def given(field: str, size: int) -> Any:
        shape, dtype = ((size,), "float32") if field == "Genres" else ((), "int32")
        return keras.Input(shape, dtype=dtype, name=field)

    x = {(use, field): given(field, size) for use in SIZES for field, size in SIZES[use].items()}

    def embed(kind: str, width: int) -> list[Any]:
        return [
            layers.Dense(width, use_bias=False, name=f"{use}.{kind}.{field}")(given)
            if field == "Genres"
            else layers.Embedding(SIZES[use][field], width, name=f"{use}.{kind}.{field}")(given)
            for (use, field), given in x.items()
        ]

    def mlp(name: str, value: Any, *widths: int) -> Any:
        for index, width in enumerate(widths):
            value = layers.Dense(width, "relu", name=f"{name}.mlp.{index}")(value)
        return value

    e, first = embed("e", FACTORS), layers.Add()(embed("first", 1))
    v = layers.Add()(e)
    squares = ops.sum(ops.square(ops.stack(e, axis=1)), axis=(1, 2))[:, None]
    users = len(SIZES["a"])
    a = mlp("a.deep", layers.Concatenate()(e[:users]), 256, 32)
    b = mlp("b.deep", layers.Concatenate()(e[users:]), 256, 32)
    top = mlp("logit", layers.Concatenate()([a, b]), 256, 256, 32)
    square = ops.sum(ops.square(v), axis=1, keepdims=True)
    logit = first + 0.5 * (square - squares) + layers.Dense(1, name="logit.dense")(top)
    model = keras.Model([*x.values()], logit)
    model.compile(dense_adam(0.001), keras.losses.BinaryCrossentropy(from_logits=True))
    return model


def dense_adam(rate: float) -> Any:
    """Keras's Adam, told to add up an embedding's gradients before it squares them.

    Adam of Keras 3.15 on TensorFlow squares the gradient of each id of a batch and adds the squares up
    by row, where the square of the sum is due: rows that a batch reads more than once move otherwise
    than by Adam. Both take the same time, to 4 %.
    """
    import keras
    import tensorflow as tf

    class DenseAdam(keras.optimizers.Adam):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(tf.convert_to_tensor(gradient), variable, learning_rate)

    return DenseAdam(rate)


class Contender:
    """One side in a process of its own, which runs only while the other waits."""

    def __init__(self, side: str, folder: Path, batch: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=serve, args=(end, side, folder, batch), daemon=True)
        self._process.start()
        end.close()

    def epoch(self, steps: int) -> float:
        """Trains as many steps; how many seconds they took."""
        return float(self._ask("epoch", steps))

    def weights(self) -> dict[str, Array]:
        """All weights by their names in the spec; of vflc alone."""
        return dict(self._ask("weights"))

    def take(self, weights: dict[str, Array]) -> None:
        """Starts from these weights; Keras alone."""
        self._ask("take", weights)

    def losses(self, batches: Sequence[Array]) -> list[float]:
        """Trains on the rows [n] of each batch; the loss of each before its update."""
        return list(self._ask("losses", batches))

    def _ask(self, method: str, *given: Any) -> Any:
        self._pipe.send((method, *given))
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()


def serve(pipe: Connection, side: str, folder: Path, batch: int) -> None:
    """Does what it is asked, until it is asked nothing more."""
    with np.load(folder / "inputs.npz") as file:
        inputs = dict(file)
    trainer = Ours(folder / "bundle", inputs, batch) if side == "ours" else Keras(inputs, batch)
    while (asked := pipe.recv()) is not None:
        method, *given = asked
        answer = getattr(trainer, method)(*given)
        pipe.send(list(answer) if isinstance(answer, Iterator) else answer)


def check_same(ours: Ours | Contender, peer: Keras | Contender, rows: int, batch: int) -> None:
    """Ends the program where the two do not train alike."""
    peer.take(ours.weights())
    order = Order(rows, 0, 0.0, batch)
    batches = list(islice(chain.from_iterable(order.batches(epoch) for epoch in count()), STEPS))
    for step, (a, b) in enumerate(zip(ours.losses(batches), peer.losses(batches), strict=True), 1):
        if not abs(a - b) <= TOLERANCE * abs(b):
            sys.exit(
                f"the two sides do not train the same model: at step {step} of batches of {batch}, from the "
                f"same weights, the loss is {a:.8f} in vflc and {b:.8f} in Keras: further apart than "
                f"{TOLERANCE:g} of it"
            )


def measure(folder: Path, rows: int, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """Rows a second of both at one batch size, and the median of the rounds' ratios."""
    rates: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(options.starts):
        sides = {side: Contender(side, folder, batch) for side in rates}
        check_same(sides["ours"], sides["peer"], rows, batch)
        steps = total = -(-rows // batch)
        for index in range(options.rounds + 1):
            for side, contender in sides.items():
                spent = contender.epoch(steps)
                if index:
                    rates[side].append(min(steps * batch, rows) / spent)
                elif side == "ours":
                    steps = max(1, min(total, int(total * options.seconds / spent)))
        for contender in sides.values():
            contender.close()
    ratios = sorted(a / b for a, b in zip(rates["ours"], rates["peer"], strict=True))
    return {
        "name": "deepfm",
        "batch": batch,
        "ours": statistics.median(rates["ours"]),
        "peer": statistics.median(rates["peer"]),
        "ratio": statistics.median(ratios),
        "least": ratios[0],
        "most": ratios[-1],
        "unit": "rows/s",
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--starts", type=int, default=3, help="times that both are started anew")
    parser.add_argument("--rounds", type=int, default=3, help="rounds after each start")
    parser.add_argument("--seconds", type=float, default=3.0, help="of one round of one side, about")
    parser.add_argument("--batch", type=int, action="append")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    need("keras")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        compile_spec(SPEC).write(Path(folder) / "bundle")
        inputs = encoded_rows(Path(folder) / "bundle", options.rows)
        np.savez(Path(folder) / "inputs.npz", **inputs)
        for batch in options.batch or BATCHES:
            found = measure(Path(folder), len(inputs["bob.liked"]), batch, options)
            results.append(found)
            print(
                f"batch {batch:5}: vflc {found['ours']:9,.0f} rows/s   Keras {found['peer']:9,.0f} rows/s   "
                f"ratio {found['ratio']:.2f} ({found['least']:.2f} to {found['most']:.2f})",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
