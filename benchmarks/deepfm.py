"""DeepFM on MovieLens-shaped rows: vflc split over two parties against Keras on the unsplit model.

    python benchmarks/deepfm.py [--rows N] [--starts N] [--rounds N] [--json FILE]

Both train the same model on the same encoded rows, each in a process of its own as its users would,
in alternation, an epoch at a time; the ratio of each round's rows a second is taken within the round
and the median is reported, so that a machine whose speed drifts does not favour either. Both
processes are started anew `--starts` times, as one process of Keras was up to 1.7 times as fast as the
next at batch 4096, alone on the machine; why is not known. Loading, compiling and a first epoch to
warm up are not counted. Needs `vflc[keras]`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from extras import need
from vflc_runtime.data.batches import Order, gather
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.generate import generate
from vflc_runtime.session import Session

from vflc.driver import compile_spec

SPEC = Path(__file__).resolve().parent.parent / "specs" / "deepfm" / "deepfm.vfl"
BATCHES = (128, 1024, 4096)
FACTORS = 16
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

    def epoch(self, steps: int) -> None:
        for rows in islice(self.order.batches(self.epochs), steps):
            self.session.step(gather(self.inputs, rows), len(rows))
        self.epochs += 1


class Keras:
    """The unsplit model in Keras' own way: Embedding and Dense layers, `model.fit`."""

    def __init__(self, inputs: dict[str, Array], batch: int) -> None:
        self.batch = batch
        genres = np.zeros((len(inputs["bob.Genres"]), 18), np.float32)
        rows, slots = np.nonzero(inputs["bob.Genres"] >= 0)
        genres[rows, inputs["bob.Genres"][rows, slots]] = 1
        names = ("alice.UserID", "alice.Gender", "alice.Age", "alice.Occupation", "bob.MovieID")
        self.x = [inputs[name] for name in names] + [genres]
        self.y = inputs["bob.liked"].astype(np.float32)
        self.model = keras_deepfm()

    def epoch(self, steps: int) -> None:
        count = min(steps * self.batch, len(self.y))
        self.model.fit(
            [x[:count] for x in self.x], self.y[:count], batch_size=self.batch, epochs=1, verbose=0
        )


def keras_deepfm() -> Any:
    """The model of `specs/deepfm`, on ids and a multi-hot genre vector."""
    warnings.filterwarnings("ignore", "Protobuf gencode version", UserWarning)
    import keras
    from keras import layers

    sizes = (6041, 2, 7, 21, 3953)
    ids = [keras.Input((), dtype="int32") for _ in sizes]
    genres = keras.Input((18,))

    def embed(width: int) -> list[Any]:
        one = [layers.Embedding(size, width)(x) for size, x in zip(sizes, ids, strict=True)]
        return [*one, layers.Dense(width, use_bias=False)(genres)]

    e = embed(FACTORS)

    def bottom(fields: list[Any]) -> Any:
        return layers.Dense(32, "relu")(layers.Dense(256, "relu")(layers.Concatenate()(fields)))

    v = layers.Add()(e)
    squares = keras.ops.sum(keras.ops.square(keras.ops.stack(e, axis=1)), axis=(1, 2))[:, None]
    first = layers.Add()(embed(1))
    top = layers.Concatenate()([bottom(e[:4]), bottom(e[4:])])
    for units in (256, 256, 32):
        top = layers.Dense(units, "relu")(top)
    square = keras.ops.sum(keras.ops.square(v), axis=1, keepdims=True)
    logit = first + 0.5 * (square - squares) + layers.Dense(1)(top)
    model = keras.Model([*ids, genres], logit)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.001), loss)
    return model


class Contender:
    """One side in a process of its own, which runs only while the other waits."""

    def __init__(self, side: str, folder: Path, batch: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=serve, args=(end, side, folder, batch), daemon=True)
        self._process.start()
        end.close()

    def epoch(self, steps: int) -> float:
        """Seconds that as many steps took."""
        self._pipe.send(steps)
        return float(self._pipe.recv())

    def close(self) -> None:
        self._pipe.send(0)
        self._process.join()


def serve(pipe: Connection, side: str, folder: Path, batch: int) -> None:
    """Trains as many steps as it is told, until it is told none."""
    with np.load(folder / "inputs.npz") as file:
        inputs = dict(file)
    trainer = Ours(folder / "bundle", inputs, batch) if side == "ours" else Keras(inputs, batch)
    while steps := pipe.recv():
        start = time.perf_counter()
        trainer.epoch(steps)
        pipe.send(time.perf_counter() - start)


def measure(folder: Path, rows: int, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """Rows a second of both at one batch size, and the median of the rounds' ratios."""
    rates: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(options.starts):
        sides = {side: Contender(side, folder, batch) for side in rates}
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
