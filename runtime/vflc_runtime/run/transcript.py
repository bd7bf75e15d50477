"""What places received and sent in the steps of a run, kept for `vflc audit`.

    PLACE/transcript/step-0000000001.safetensors         `rows`, `received/EDGE`, `sent/EDGE` of step 1
    PLACE/transcript/evaluate-0000000009-000.safetensors the same of a batch of validation after step 9

Each place's part lies in a folder of its own: it is what that place alone could have written down.
Safetensors hold numbers only, so a transcript of somebody else's is safe to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
from safetensors.numpy import save_file
from vflc_common.arrays import Array, Indices
from vflc_common.words import FIT

from vflc_runtime import files
from vflc_runtime.bundle.manifest import Manifest
from vflc_runtime.data.batches import EVALUATION_BATCH, Order
from vflc_runtime.errors import Failure
from vflc_runtime.transport.messages import Envelope

T = TypeVar("T")

FOLDER = "transcript"
LIMIT = 2 << 30
"""Bytes that a recording takes at most, over all places; it ends before the step that would not fit."""
_FILE = re.compile(r"step-(\d{10})\.safetensors\Z")
_EVALUATED = re.compile(r"evaluate-(\d{10})-(\d{3,})\.safetensors\Z")


@dataclass(frozen=True, slots=True)
class RecordingLength:
    """How much of a run is recorded: its first `count` steps, or epochs."""

    count: int
    epochs: bool = False

    @classmethod
    def of(cls, text: str | int) -> RecordingLength:
        """`200` as so many steps, `3epochs` as epochs; ValueError where it is neither."""
        text = str(text)
        count, epochs, _ = text.partition("epoch")
        if not count.strip().isdigit() or not int(count) or not text.endswith((count, "epoch", "epochs")):
            raise ValueError(f"{text!r} is not a number of steps, as in 200, or of epochs, as in 3epochs")
        return cls(int(count), bool(epochs))

    def steps(self, order: Order) -> int:
        """The number of steps."""
        return self.count * order.steps if self.epochs else self.count


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """One batch as a place saw it.

    Args:
        number: of the step, from 1.
        rows: numbers of the batch's aligned rows [n]: every party finds them from the seed.
        received, sent: tensors by edge id, as they crossed.
    """

    number: int
    rows: Indices
    received: Mapping[str, Array]
    sent: Mapping[str, Array]


class Recorder:
    """Listens to a session and writes what crosses, up to `steps` training steps and `limit` bytes.

    What crosses to validate between these steps is written, too.

    A context that writes the last step when it ends. `recorded` counts steps, `bytes` what their tensors
    take, `full` says whether the limit ended it.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, order: Order, steps: int, limit: int = LIMIT
    ) -> None:
        self.recorded, self.bytes, self.full = 0, 0, False
        self._folder, self._messages, self._order = folder, manifest.messages, order
        self._last, self._limit = steps, limit
        self._step = 0
        self._part: int | None = None  # of a validation, which batch it is
        self._heard: set[str] = set()
        self._tensors: dict[str, dict[str, Array]] = {}
        self._epoch: tuple[int, Indices] = (-1, np.arange(0))

    def __call__(self, envelope: Envelope) -> None:
        if envelope.program == FIT:
            return  # the bins of rows, which steps send as well
        if envelope.program == "train":
            if envelope.step != self._step or self._part is not None:
                self._end_step()
                self._step, self._part = envelope.step, None
        elif self._part is None or envelope.message in self._heard:
            self._end_step()
            self._part = 0 if self._part is None else self._part + 1
        if envelope.program == "predict" or self.full or self._step > self._last:
            return
        self._heard.add(envelope.message)
        receiver = self._messages[envelope.message].receiver
        for edge, tensor in envelope.tensors.items():
            # The engine's own array changes with the next update, and safetensors want it in one piece.
            kept = np.array(tensor, order="C")
            self._tensors.setdefault(receiver, {})[f"received/{edge}"] = kept
            self._tensors.setdefault(envelope.sender, {})[f"sent/{edge}"] = kept

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:  # what a step left behind that failed is no step
            self._end_step()

    def _end_step(self) -> None:
        """Writes what was heard of a step. Nothing is kept of one that would go beyond the limit."""
        tensors, self._tensors = self._tensors, {}
        self._heard.clear()
        if not tensors or self.full:
            return
        rows = self._rows()
        size = sum(tensor.nbytes for own in tensors.values() for tensor in (rows, *own.values()))
        self.full = self.bytes + size > self._limit
        if self.full:
            return
        for place, own in tensors.items():
            folder = self._folder / place / FOLDER
            path = folder / self._name()
            new = path.with_name(f".{path.name}.new")
            with files.writing(path):
                folder.mkdir(parents=True, exist_ok=True)
                save_file({"rows": rows, **own}, new)
                new.replace(path)
        self.bytes += size
        self.recorded += self._part is None

    def _name(self) -> str:
        if self._part is None:
            return f"step-{self._step:010}.safetensors"
        return f"evaluate-{self._step:010}-{self._part:03}.safetensors"

    def _rows(self) -> Indices:
        if self._part is not None:
            return self._order.held_out[self._part * EVALUATION_BATCH :][:EVALUATION_BATCH]
        epoch, position = divmod(self._step - 1, self._order.steps)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._order.epoch(epoch))
        start = position * self._order.batch
        return self._epoch[1][start : start + self._order.batch]


class Transcript:
    """The transcript of one place, read step by step; empty where nothing was recorded."""

    def __init__(self, folder: Path, place: str) -> None:
        path = folder / place / FOLDER
        found = sorted(path.iterdir()) if path.is_dir() else []
        self._files = [(int(named[1]), file) for file in found if (named := _FILE.match(file.name))]
        self._evaluated = [(int(n[1]), file) for file in found if (n := _EVALUATED.match(file.name))]

    def __len__(self) -> int:
        return len(self._files)

    def steps(self, most: int | None = None) -> Iterator[RecordedStep]:
        """Steps in order; not more than `most`, which then lie evenly over all of them."""
        for number, path in evenly(self._files, most):
            yield _read(number, path)

    def evaluations(self, most: int | None = None) -> Iterator[RecordedStep]:
        """Batches of validation in order, numbered by the step before; thinned as steps are."""
        for number, path in evenly(self._evaluated, most):
            yield _read(number, path)


def evenly(steps: Sequence[T], most: int | None) -> Sequence[T]:
    """Not more than `most` of the steps, which then lie evenly over all of them."""
    if most is None or len(steps) <= most:
        return steps
    return [steps[i] for i in np.linspace(0, len(steps) - 1, most).astype(int)]


def recorded(run: Path) -> bool:
    """Whether a run's folder has the transcript of any place."""
    return any(run.glob(f"*/{FOLDER}/step-*.safetensors"))


def _read(number: int, path: Path) -> RecordedStep:
    tensors, _ = files.read_tensors(path)
    rows = tensors.pop("rows", None)
    if rows is None or rows.ndim != 1 or rows.dtype != np.int64:
        raise _damaged(path, "no numbers of rows")
    groups: dict[str, dict[str, Array]] = {"received": {}, "sent": {}}
    for name, tensor in tensors.items():
        group, _, edge = name.partition("/")
        if group not in groups:
            raise _damaged(path, f"a tensor {name!r}")
        groups[group][edge] = tensor
    return RecordedStep(number, rows, groups["received"], groups["sent"])


def _damaged(path: Path, what: str) -> Failure:
    return Failure("VFL0621", f"{path} is not a transcript: it has {what}", "record the run again")
