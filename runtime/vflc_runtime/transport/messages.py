"""What may cross between places, checked by the receiver against its own manifest.

The same checks hold on every transport: nothing that a peer sends reaches a graph unless the
manifest declares it, with this sender, phase, program, step, shape and element type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.manifest import Dim, Manifest
from vflc_runtime.errors import PEER, Failure


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message on its way; `tensors` by edge."""

    message: str
    sender: str
    phase: str
    program: str
    step: int
    tensors: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class _Expected:
    """`exact` are the shapes for `rows` rows; None where the manifest leaves a size open."""

    sender: str
    phase: str
    edges: tuple[tuple[str, np.dtype[Any], tuple[Dim, ...]], ...]
    exact: tuple[tuple[int, ...] | None, ...] = ()
    rows: int = -1

    def at(self, rows: int) -> _Expected:
        """The same for batches of `rows` rows."""
        exact = tuple(_exact(shape, rows) for _, _, shape in self.edges)
        return replace(self, exact=exact, rows=rows)


class Gate:
    """Lets in at `place` only what the manifest declares; anything else is VFL0615."""

    def __init__(self, manifest: Manifest, place: str, program: str) -> None:
        self.place, self.program = place, program
        self._expected: dict[str, _Expected] = {}
        self._ids = {edge.id: edge.ids for edge in manifest.edges.values() if edge.ids is not None}
        for message in manifest.messages.values():
            if message.receiver == place and program in message.programs:
                edges = [manifest.edges[name] for name in message.edges]
                self._expected[message.id] = _Expected(
                    message.sender,
                    message.phase,
                    tuple((edge.id, np.dtype(edge.dtype), edge.shape) for edge in edges),
                )

    def check(self, wanted: str, envelope: Envelope, step: int, rows: int) -> None:
        """Compares what came with the message `wanted` at this step, for a batch of `rows` rows."""
        if envelope.message != wanted or wanted not in self._expected:
            raise self._refused(envelope, f"message {envelope.message!r}, where {wanted!r} is due")
        expected = self._expected[wanted]
        if expected.rows != rows:
            expected = self._expected[wanted] = expected.at(rows)
        header = (envelope.sender, envelope.phase, envelope.program, envelope.step)
        due = (expected.sender, expected.phase, self.program, step)
        if header != due:
            what = ("sender", "phase", "program", "step")
            wrong = [
                f"{w} {h!r} instead of {d!r}" for w, h, d in zip(what, header, due, strict=True) if h != d
            ]
            raise self._refused(envelope, f"message {wanted!r} with {', '.join(wrong)}")
        tensors = envelope.tensors
        if len(tensors) != len(expected.edges):
            names = {name for name, _, _ in expected.edges}
            extra, missing = sorted(set(tensors) - names), sorted(names - set(tensors))
            raise self._refused(
                envelope, f"message {wanted!r} with edges added {extra} and missing {missing}"
            )
        for (name, dtype, shape), exact in zip(expected.edges, expected.exact, strict=True):
            tensor = tensors.get(name)
            if tensor is None:
                raise self._refused(envelope, f"message {wanted!r} without edge {name!r}")
            if tensor.dtype != dtype:
                raise self._refused(envelope, f"edge {name!r} of type {tensor.dtype} instead of {dtype}")
            if tensor.shape != exact and not _fits(tensor.shape, shape, rows):
                due_shape = [rows if size == "batch" else size for size in shape]
                raise self._refused(
                    envelope, f"edge {name!r} of shape {list(tensor.shape)} instead of {due_shape}"
                )

        for name in self._ids.keys() & tensors.keys() if self._ids else ():
            if not _are_ids(tensors[name], self._ids[name]):
                ids = f"an id that is not from 0 to {self._ids[name] - 1}"
                raise self._refused(envelope, f"edge {name!r} with {ids}")

    def _refused(self, envelope: Envelope, what: str) -> Failure:
        return Failure(
            "VFL0615",
            f"{self.place!r} refused what {envelope.sender!r} sent: {what}",
            "run the same bundle on both sides, at the same step; nothing undeclared is accepted",
            exit_code=PEER,
        )


def _are_ids(values: Array, count: int) -> bool:
    """Whether all are from 0 to below `count`."""
    return not values.size or (int(values.min()) >= 0 and int(values.max()) < count)


def _exact(declared: tuple[Dim, ...], rows: int) -> tuple[int, ...] | None:
    exact = tuple(size if isinstance(size, int) else rows for size in declared if size is not None)
    return exact if len(exact) == len(declared) else None


def _fits(shape: tuple[int, ...], declared: tuple[Dim, ...], rows: int) -> bool:
    if len(shape) != len(declared):
        return False
    for size, due in zip(shape, declared, strict=True):
        if due is not None and size != (rows if due == "batch" else due):
            return False
    return True
