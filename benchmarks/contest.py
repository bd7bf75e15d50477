"""A model trained by vflc, split, beside other frameworks, unsplit: in turn, each in a process of its own.

Nothing is timed before all have shown that they do the same work: from the same weights and on the same
ten batches they have the same losses, to a stated share, or the program ends. Then they take turns, some
seconds each, and the ratio of the rows a second is taken within each round, so that a machine whose speed
drifts favours nobody. All processes are started anew `--starts` times, as one process of Keras was up to
1.7 times as fast as the next at batch 4096, alone on the machine; why is not known. Loading, compiling and
a first round to warm up are not counted.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from peers import PEERS, TOLERANCE, Peer
from peers.rows import COLUMNS
from vflc_common.engines import on_device
from vflc_common.words import DEFAULT_ENGINE, DEVICES
from vflc_runtime.data.batches import Order, gather
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.generate import generate
from vflc_runtime.engines.ungathered import Rows
from vflc_runtime.run.session import Session

STEPS = 10
WARM_ROWS, WARM_STEPS = 20_000, 10
"""At least as much is done before the first round that counts."""
OURS = "vflc"
Array = np.ndarray[Any, Any]
Result = dict[str, Any]


def encoded_rows(bundle: Path, rows: int) -> dict[str, Array]:
    """Random rows that fit the spec, encoded as training would."""
    import pyarrow.parquet as pq

    manifest = json.loads((bundle / "manifest.json").read_text())
    encoders: dict[str, Any] = {}
    for place in manifest["places"]:
        encoders |= json.loads((bundle / place / "encoders.json").read_text())["parties"]
    with tempfile.TemporaryDirectory() as folder:
        sources = {}
        for party, table in generate({"parties": encoders}, rows, seed=1).items():
            sources[party] = str(Path(folder) / f"{party}.parquet")
            pq.write_table(table, sources[party])
        return dict(Dataset.load({"parties": encoders}, sources).inputs)


class Ours:
    """vflc: all parties in one process, messages checked as between machines."""

    def __init__(self, bundle: Path, inputs: Mapping[str, Array], batch: int, device: str = "cpu") -> None:
        engine = on_device(DEFAULT_ENGINE, device)
        assert engine is not None
        self.session = Session(bundle, engine, programs=("train",))
        self.inputs, self.epochs = inputs, 0
        self.order = Order(len(next(iter(inputs.values()))), 0, 0.0, batch)

    def epoch(self, steps: int) -> float:
        """See `Peer`."""
        order = islice(self.order.batches(self.epochs), steps)
        start = time.perf_counter()
        if self.session.engine == DEFAULT_ENGINE:
            for rows in order:
                self.session.step(gather(self.inputs, rows), len(rows))
        else:
            drawn = [*order]  # as peers draw their order before their clock starts
            start = time.perf_counter()
            for rows in drawn:
                self.session.step(Rows(self.inputs, rows), len(rows))
        self.epochs += 1
        return time.perf_counter() - start

    def weights(self) -> dict[str, Array]:
        """All weights by their names in the spec."""
        return self.session.weights()

    def losses(self, batches: Sequence[Array]) -> Iterator[float]:
        """See `Peer`."""
        return (self.session.step(gather(self.inputs, rows), len(rows)).loss for rows in batches)


class Contender:
    """One side in a process of its own, which runs only while the others wait."""

    def __init__(self, side: str, model: str, folder: Path, batch: int, device: str = "cpu") -> None:
        context = multiprocessing.get_context("spawn")
        self._side = side
        self._pipe, end = context.Pipe()
        self._process = context.Process(
            target=serve, args=(end, side, model, folder, batch, device), daemon=True
        )
        self._process.start()
        end.close()

    def epoch(self, steps: int) -> float:
        """See `Peer`."""
        return float(self._ask("epoch", steps))

    def weights(self) -> dict[str, Array]:
        """All weights by their names in the spec; of vflc alone."""
        return dict(self._ask("weights"))

    def take(self, weights: Mapping[str, Array]) -> None:
        """See `Peer`; not of vflc."""
        self._ask("take", weights)

    def losses(self, batches: Sequence[Array]) -> list[float]:
        """See `Peer`."""
        return list(self._ask("losses", batches))

    def _ask(self, method: str, *given: Any) -> Any:
        try:
            self._pipe.send((method, *given))
            return self._pipe.recv()
        except (EOFError, BrokenPipeError):
            sys.exit(f"{self._side} ended: see above")

    def close(self) -> None:
        """Ends the process."""
        self._pipe.send(None)
        self._process.join()


def serve(pipe: Connection, side: str, model: str, folder: Path, batch: int, device: str = "cpu") -> None:
    """Does what it is asked, until it is asked nothing more."""
    with np.load(folder / "inputs.npz") as file:
        inputs = dict(file)
    trainer: Any
    if side == OURS:
        trainer = Ours(folder / "bundle", inputs, batch, device)
    else:
        trainer = PEERS[side].make(model, *COLUMNS[model](inputs), batch, device)
    while (asked := received(pipe)) is not None:
        method, *given = asked
        answer = getattr(trainer, method)(*given)
        pipe.send(list(answer) if isinstance(answer, Iterator) else answer)


def received(pipe: Connection) -> Any:
    """What is asked next; None where nobody asks any more."""
    try:
        return pipe.recv()
    except EOFError:
        return None


def check_same(ours: Ours | Contender, peers: Mapping[str, Peer | Contender], rows: int, batch: int) -> None:
    """Ends the program where one of the peers, by their titles, trains otherwise than vflc."""
    tolerances = {kind.title: kind.tolerance for kind in PEERS.values()}
    weights = ours.weights()
    order = Order(rows, 0, 0.0, batch)
    batches = list(islice(chain.from_iterable(order.batches(epoch) for epoch in count()), STEPS))
    for peer in peers.values():  # before vflc's own change
        peer.take(weights)
    due = list(ours.losses(batches))
    for title, peer in peers.items():
        most = tolerances.get(title, TOLERANCE)
        for step, (a, b) in enumerate(zip(due, peer.losses(batches), strict=True), 1):
            if not abs(a - b) <= most * abs(b):
                sys.exit(
                    f"the two sides do not train the same model: at step {step} of batches of {batch}, from "
                    f"the same weights, the loss is {a:.8f} in vflc and {b:.8f} in {title}: further apart "
                    f"than {most:g} of it"
                )


def measure(name: str, folder: Path, batch: int, options: argparse.Namespace) -> list[Result]:
    """vflc beside every peer at one batch size: rows a second of both, and the rounds' ratios.

    `folder` has the bundle and `inputs.npz`; `name` is of the model that peers train.
    """
    with np.load(folder / "inputs.npz") as file:
        rows = len(file[file.files[0]])
    sides = [OURS, *options.peers]
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(options.starts):
        running = {side: Contender(side, name, folder, batch, options.device) for side in sides}
        check_same(running[OURS], {PEERS[p].title: running[p] for p in options.peers}, rows, batch)
        steps = total = rows // batch
        steps = min(total, max(WARM_STEPS, WARM_ROWS // batch))
        for index in range(options.rounds + 1):
            for side, contender in running.items():
                spent = contender.epoch(steps)
                if index:
                    rates[side].append(steps * batch / spent)
                elif side == OURS:
                    after = max(1, min(total, int(steps * options.seconds / spent)))
            steps = after
        for contender in running.values():
            contender.close()
    ours = rates.pop(OURS)
    found = [result(f"{name} beside {PEERS[side].title}", batch, ours, rates[side]) for side in options.peers]
    if len(options.peers) > 1:
        fastest = [max(each) for each in zip(*rates.values(), strict=True)]
        found.append(result(f"{name} beside the fastest", batch, ours, fastest))
    return found


def result(
    name: str, batch: int, ours: Sequence[float], peer: Sequence[float], unit: str = "rows/s"
) -> Result:
    """Medians of both, and the median, least and greatest of the ratios within a round."""
    ratios = sorted(a / b for a, b in zip(ours, peer, strict=True))
    return {
        "name": name,
        "batch": batch,
        "ours": statistics.median(ours),
        "peer": statistics.median(peer),
        "ratio": statistics.median(ratios),
        "least": ratios[0],
        "most": ratios[-1],
        "unit": unit,
    }


def show(found: Result) -> None:
    """A line of a result."""
    rounds = f" ({found['least']:.2f} to {found['most']:.2f})" if "least" in found else ""
    print(
        f"{found['name']:36} batch {found['batch']:5}: {found['ours']:9,.0f} against {found['peer']:9,.0f} "
        f"{found['unit']}   ratio {found['ratio']:.2f}{rounds}",
        flush=True,
    )


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """A second process that keeps one core busy meanwhile, where it is wanted."""
    process = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    if wanted:
        process.start()
    try:
        yield
    finally:
        if wanted:
            process.terminate()


def spin() -> None:
    """Work without end."""
    while True:
        pass


def parser(text: str | None, rows: int) -> argparse.ArgumentParser:
    """The options that contests have in common."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rows", type=int, default=rows, help=f"rows of the tables (default {rows:,})")
    made.add_argument("--starts", type=int, default=3, help="times that all are started anew (default 3)")
    made.add_argument("--rounds", type=int, default=3, help="rounds after each start (default 3)")
    made.add_argument("--seconds", type=float, default=3.0, help="of vflc's turn, about (default 3)")
    made.add_argument("--batch", type=int, action="append", help="rows a step; may be given several times")
    made.add_argument("--device", choices=DEVICES, default=DEVICES[0], help="where all of them run")
    made.add_argument("--busy", action="store_true", help="keep a core busy by another process")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    made.add_argument(
        "--peers", nargs="+", choices=[*PEERS], metavar="PEER",
        help=f"of {', '.join(PEERS)}; default: those that are installed",
    )  # fmt: skip
    return made


def contest(model: str, bundle: Any, batches: Sequence[int], options: argparse.Namespace) -> list[Result]:
    """Measures a compiled bundle beside the peers at every batch size, prints and writes what was found."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as name, busy(options.busy):
        folder = Path(name)
        bundle.write(folder / "bundle")
        np.savez(folder / "inputs.npz", **encoded_rows(folder / "bundle", options.rows))
        for batch in options.batch or batches:
            for found in measure(model, folder, batch, options):
                results.append(found)
                show(found)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return results
