"""Other frameworks that train the benchmarks' models unsplit: one file each, one interface.

A peer is found where its package is installed; vflc needs none of them. `make peers` installs all of them
beside vflc in build/peers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
TOLERANCE, ROUNDED = 1e-5, 1e-4
"""In float32, from the same weights; the second where a framework's products round otherwise than others'.

A unit whose input is next to 0 may then be on for one side and off for the other, which moves later losses.
"""


class Peer(Protocol):
    """One model in one framework, with its rows."""

    def take(self, weights: Mapping[str, Array]) -> None:
        """Starts from these weights, by their names in the spec: tables [ids, k], kernels [in, out]."""
        ...

    def losses(self, batches: Sequence[Array]) -> Iterator[float]:
        """Trains on the rows [n] of each batch; the loss of each before its update."""
        ...

    def epoch(self, steps: int) -> float:
        """Trains as many steps on rows in random order; how many seconds they took."""
        ...


@dataclass(frozen=True, slots=True)
class PeerKind:
    """How a peer is found, made and called.

    Attributes:
        title: its name in tables.
        module: what must be installed.
        file: the module here that has its class, `Trainer`.
        options: what else that class takes.
        tolerance: of a loss, by which it may differ from vflc's in any of the first steps.
        backend: of Keras.
        devices: on which of `cpu` and `cuda` it is measured.
    """

    title: str
    module: str
    file: str
    options: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = TOLERANCE
    backend: str = "tensorflow"
    devices: tuple[str, ...] = ("cpu",)

    @property
    def installed(self) -> bool:
        """Whether it can be measured here."""
        return find_spec(self.module) is not None

    def make(
        self, model: str, columns: Mapping[str, Array], labels: Array, batch: int, device: str = "cpu"
    ) -> Peer:
        """The peer with rows: columns by field, [row] of ids or [row, n] of numbers, and labels [row, 1]."""
        os.environ["KERAS_BACKEND"] = self.backend
        trainer = import_module(f"peers.{self.file}").Trainer
        options = dict(self.options) if device == "cpu" else {**self.options, "device": device}
        return trainer(model, columns, labels, batch, **options)  # type: ignore[no-any-return]


PEERS = {
    "keras": PeerKind("Keras `fit`", "tensorflow", "keras"),
    "keras-xla": PeerKind("Keras `fit`, XLA", "tensorflow", "keras", {"xla": True}),
    "keras-jax": PeerKind(
        "Keras `fit`, XLA by JAX", "keras", "keras", {"xla": True}, ROUNDED, backend="jax", devices=("cuda",)
    ),
    "torch": PeerKind("PyTorch", "torch", "torch", {}, ROUNDED, devices=("cpu", "cuda")),
    "torch-compiled": PeerKind(
        "PyTorch, compiled", "torch", "torch", {"compiled": True}, ROUNDED, devices=("cpu", "cuda")
    ),
    "torch-captured": PeerKind(
        "PyTorch, compiled, captured",
        "torch",
        "torch",
        {"compiled": True, "captured": True},
        ROUNDED,
        devices=("cuda",),
    ),
    "jax": PeerKind("JAX", "jax", "jax"),
    "jax-split": PeerKind("JAX, split by hand", "jax", "jax", {"split": True}),
}
