"""What places received and sent in the steps of a run, kept for `vflc audit`.

    PLACE/transcript/train-0000000001.safetensors   step 1: `rows`, `received/EDGE`, `sent/EDGE`
    PLACE/transcript/predict-0000000001.safetensors what the trained model's prediction brought

Each place's part lies in a folder of its own: it is what that place alone could have written down.
Safetensors hold numbers only, so a transcript of somebody else's is safe to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from vflc_runtime import files
from vflc_runtime.data.batches import Indices, Order
from vflc_runtime.errors import Failure
from vflc_runtime.manifest import Manifest
from vflc_runtime.messages import Envelope

Array = NDArray[Any]

FOLDER = "transcript"
LIMIT = 2 << 30
"""Bytes that a recording takes at most, over all places; it ends before the step that would not fit."""
_FILE = re.compile(r"(train|predict)-(\d{10})\.safetensors\Z")


@dataclass(frozen=True, slots=True)
class Step:
    """One batch as a place saw it.

    Args:
        number: of the step, from 1; of the batch where the program is `predict`.
        rows: numbers of the batch's aligned rows [n]: every party finds them from the seed.
        received, sent: tensors by edge id, as they crossed.
    """

    number: int
    rows: Indices
    received: Mapping[str, Array]
    sent: Mapping[str, Array]


class Recorder:
    """Listens to a session and writes what crosses, up to `steps` training steps and `limit` bytes.

    Call `close` when the run is over. `recorded` counts steps, `full` says whether the limit ended it.
    """

    def __init__(self, folder: Path, manifest: Manifest, order: Order, steps: int, limit: int = LIMIT):
        self.recorded, self.bytes, self.full = 0, 0, False
        self._folder, self._messages, self._order = folder, manifest.messages, order
        self._last, self._limit = steps, limit
        self._open: tuple[str, int] | None = None
        self._rows: Indices = np.arange(0)
        self._tensors: dict[str, dict[str, Array]] = {}
        self._epoch: tuple[int, Indices] = (-1, np.arange(0))

    def __call__(self, envelope: Envelope) -> None:
        if envelope.program != "train" or self.full or envelope.step > self._last:
            return
        if self._open != ("train", envelope.step):
            self.close()
            self._open, self._rows = ("train", envelope.step), self._rows_of(envelope.step)
        self._keep(envelope)

    def predicted(self, number: int, rows: Indices, envelopes: list[Envelope]) -> None:
        """Writes the messages of one batch of prediction; no limit holds for it."""
        self.close()
        self._open, self._rows = ("predict", number), rows
        for envelope in envelopes:
            self._keep(envelope)
        self._write()

    def close(self) -> None:
        """Writes the last step. Nothing is kept of a step that would go beyond the limit."""
        if self._open is None or self.full:
            return
        size = sum(t.nbytes for tensors in self._tensors.values() for t in tensors.values())
        size += self._rows.nbytes * len(self._tensors)
        self.full = self.bytes + size > self._limit
        if not self.full:
            self.bytes += size
            self.recorded += 1
            self._write()

    def _rows_of(self, step: int) -> Indices:
        epoch, position = divmod(step - 1, self._order.steps)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._order.epoch(epoch))
        start = position * self._order.batch
        return self._epoch[1][start : start + self._order.batch]

    def _keep(self, envelope: Envelope) -> None:
        receiver = self._messages[envelope.message].receiver
        for edge, tensor in envelope.tensors.items():
            kept = np.array(tensor)  # the engine's own array changes with the next update
            self._tensors.setdefault(receiver, {})[f"received/{edge}"] = kept
            self._tensors.setdefault(envelope.sender, {})[f"sent/{edge}"] = kept

    def _write(self) -> None:
        assert self._open is not None
        program, number = self._open
        for place, tensors in self._tensors.items():
            folder = self._folder / place / FOLDER
            path = folder / f"{program}-{number:010}.safetensors"
            new = path.with_name(f".{path.name}.new")
            with files.writing(path):
                folder.mkdir(parents=True, exist_ok=True)
                save_file({"rows": self._rows, **tensors}, new)
                new.replace(path)
        self._open, self._tensors = None, {}


class Transcript:
    """The transcript of one place, read step by step."""

    def __init__(self, folder: Path, place: str) -> None:
        self._paths: dict[str, list[tuple[int, Path]]] = {"train": [], "predict": []}
        path = folder / place / FOLDER
        for file in sorted(path.iterdir()) if path.is_dir() else []:
            named = _FILE.match(file.name)
            if named:
                self._paths[named[1]].append((int(named[2]), file))

    def count(self, program: str = "train") -> int:
        """How many steps there are."""
        return len(self._paths[program])

    def steps(self, program: str = "train", most: int | None = None) -> Iterator[Step]:
        """Steps in order; not more than `most`, which then lie evenly over all of them."""
        paths = self._paths[program]
        if most is not None and len(paths) > most:
            paths = [paths[i] for i in np.linspace(0, len(paths) - 1, most).astype(int)]
        for number, path in paths:
            yield _read(number, path)


def _read(number: int, path: Path) -> Step:
    tensors, _ = files.read_tensors(path)
    rows = tensors.pop("rows", None)
    groups: dict[str, dict[str, Array]] = {"received": {}, "sent": {}}
    for name, tensor in tensors.items():
        group, slash, edge = name.partition("/")
        if not slash or group not in groups:
            raise _damaged(path, f"a tensor {name!r}")
        groups[group][edge] = tensor
    if rows is None or rows.ndim != 1 or rows.dtype != np.int64:
        raise _damaged(path, "no numbers of rows")
    return Step(number, rows, groups["received"], groups["sent"])


def _damaged(path: Path, what: str) -> Failure:
    return Failure("VFL0614", f"{path} is not a transcript: it has {what}", "record the run again")
