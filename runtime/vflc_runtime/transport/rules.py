"""What may come from a peer and go to it, and how large it can be: known before anything is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from vflc_common.arrays import Array
from vflc_common.words import EVERY_PROGRAM

from vflc_runtime.bundle.manifest import ControlMessage, Edge, Manifest, Message
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.finite import finite
from vflc_runtime.transport.frames import (
    DTYPES,
    WIRE_DTYPES,
    BadFrame,
    Frame,
    FrameKind,
    NotFiniteFrame,
    Tensor,
    encode,
)
from vflc_runtime.transport.messages import Envelope

OPEN = 1 << 26
"""Bytes that a message may have where only the data knows a size."""
_LEAST_WINDOW = 1 << 23


@dataclass(frozen=True, slots=True)
class _Declared:
    index: int
    message: Message
    edges: tuple[Edge, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class _Compared:
    """What the tensors of a message were described as, and found to be what is declared.

    Args:
        message: that it is.
        program: its position in `EVERY_PROGRAM`.
        described: by the frame; a frame with the very same tuple needs no second look.
        tensors: by edge, where each begins in the payload, its type and shape.
        alike: the type of all that is in the payload, where it is one.
    """

    message: Message
    program: int
    described: tuple[Tensor, ...]
    tensors: Mapping[str, tuple[int, int, tuple[int, ...]]]
    alike: np.dtype[Any] | None


class MessageRules:
    """The manifest as one place's transport needs it.

    Args:
        manifest: declares messages and control messages; a frame refers to them by their position.
        place: whose transport it is.
        rows: the largest batch of any program.
    """

    def __init__(self, manifest: Manifest, place: str, rows: int) -> None:
        self.place, self.rows = place, rows
        self._declared: dict[tuple[str, str], _Declared] = {}
        self._expected: dict[tuple[str, int], _Declared] = {}
        self._known: dict[tuple[str, int], _Compared] = {}
        for index, message in enumerate(manifest.messages.values()):
            edges = tuple(manifest.edges[name] for name in message.edges)
            declared = _Declared(index, message, edges, sum(_bytes(edge, rows) for edge in edges))
            if message.sender == place:
                self._declared[message.receiver, message.id] = declared
            elif message.receiver == place:
                self._expected[message.sender, index] = declared
        self._tell: dict[tuple[str, str], tuple[int, ControlMessage]] = {}
        self._hear: dict[tuple[str, int], ControlMessage] = {}
        for index, control in enumerate(manifest.controls):
            if control.sender == place:
                self._tell[control.receiver, control.kind] = index, control
            elif control.receiver == place:
                self._hear[control.sender, index] = control

    def window(self, peer: str, incoming: bool) -> int:
        """Bytes that may be on the way and not yet taken: four steps, or a few control messages."""
        declared = self._expected if incoming else self._declared
        controls = self._hear.values() if incoming else [each for _, each in self._tell.values()]
        step = sum(each.bytes for (other, _), each in declared.items() if other == peer)
        told = max((each.bytes for each in controls if peer in (each.sender, each.receiver)), default=0)
        return max(_LEAST_WINDOW, 4 * step, 2 * told)

    def largest(self, peers: Iterable[str]) -> int:
        """Bytes of the largest payload that any of `peers` may send or be sent."""
        peers = set(peers)
        sizes = [each.bytes for (peer, _), each in (*self._declared.items(), *self._expected.items())
                 if peer in peers]  # fmt: skip
        sizes += [each.bytes for (peer, _), (_, each) in self._tell.items() if peer in peers]
        sizes += [each.bytes for (peer, _), each in self._hear.items() if peer in peers]
        return max(sizes, default=0)

    # --- out ---------------------------------------------------------------------------------

    def message(self, receiver: str, envelope: Envelope, number: int, generation: int) -> bytes:
        """The frame of a declared message; VFL0615 where it is not declared."""
        declared = self._declared.get((receiver, envelope.message))
        if declared is None or envelope.program not in declared.message.programs:
            raise self._undeclared(receiver, f"message {envelope.message!r} of {envelope.program!r}")
        if set(envelope.tensors) != set(declared.message.edges):
            raise self._undeclared(receiver, f"message {envelope.message!r} with other edges")
        tensors, parts = [], []
        for position, edge in enumerate(declared.edges):
            tensor = envelope.tensors[edge.id]
            if tensor.dtype != np.dtype(edge.dtype) or not _fits(edge, tensor.shape, self.rows):
                what = f"{tensor.dtype} of shape {list(tensor.shape)}"
                raise self._undeclared(receiver, f"edge {edge.id!r} as {what}")
            dtype = DTYPES.index(edge.dtype)
            tensors.append(Tensor(position, dtype, tensor.shape))
            if tensor.size:
                parts.append(np.ascontiguousarray(tensor, WIRE_DTYPES[dtype]))
        program = EVERY_PROGRAM.index(envelope.program)
        frame = Frame(
            FrameKind.MESSAGE, number=number, generation=generation, index=declared.index, program=program,
            step=envelope.step, tensors=tuple(tensors),
        )  # fmt: skip
        return encode(frame, parts)

    def control(self, receiver: str, kind: str, payload: bytes, number: int, generation: int) -> bytes:
        """The frame of a control message of a declared kind; VFL0615 where it is not declared."""
        index, control = self._tell.get((receiver, kind), (0, None))
        if control is None or len(payload) > control.bytes:
            raise self._undeclared(receiver, f"{len(payload)} bytes of control message {kind!r}")
        return encode(
            Frame(FrameKind.CONTROL, number=number, generation=generation, index=index),
            [payload] if payload else [],
        )

    def _undeclared(self, receiver: str, what: str) -> Failure:
        return Failure(
            "VFL0615",
            f"{self.place!r} was about to send {receiver!r} {what}, which the manifest does not declare",
            exit_code=PEER,
        )

    # --- in ----------------------------------------------------------------------------------

    def envelope(self, sender: str, frame: Frame) -> Envelope:
        """The message in a frame of `sender`, its tensors views; `BadFrame` where not declared or not finite.

        The `Gate` compares the number of rows and the step with those that are due.
        """
        known = self._known.get((sender, frame.index))
        if known is None or known.described is not frame.tensors or known.program != frame.program:
            known = self._known[sender, frame.index] = self._compared(sender, frame)
        payload, message, program = frame.payload, known.message, EVERY_PROGRAM[frame.program]
        tensors = {edge: _view(payload, *lies) for edge, lies in known.tensors.items()}
        if not (known.alike and finite(np.frombuffer(payload, known.alike))):
            for edge, view in tensors.items():
                if not finite(view):
                    raise NotFiniteFrame(f"edge {edge!r} at step {frame.step} of {program!r}")
        return Envelope(message.id, sender, message.phase, program, frame.step, tensors)

    def _compared(self, sender: str, frame: Frame) -> _Compared:
        """What a frame says of its tensors, which must be what is declared."""
        declared = self._expected.get((sender, frame.index))
        if declared is None:
            raise BadFrame(f"message number {frame.index}, which is not declared from {sender!r}")
        message = declared.message
        if frame.program >= len(EVERY_PROGRAM) or EVERY_PROGRAM[frame.program] not in message.programs:
            raise BadFrame(f"message {message.id!r} in a program that does not have it")
        if [tensor.edge for tensor in frame.tensors] != list(range(len(declared.edges))):
            raise BadFrame(f"message {message.id!r} with other edges than declared")
        tensors: dict[str, tuple[int, int, tuple[int, ...]]] = {}
        at, rows = 0, None
        for tensor, edge in zip(frame.tensors, declared.edges, strict=True):
            if DTYPES[tensor.dtype] != edge.dtype:
                raise BadFrame(f"edge {edge.id!r} as {DTYPES[tensor.dtype]} instead of {edge.dtype}")
            if not _fits(edge, tensor.shape, self.rows if rows is None else rows, exact=rows is not None):
                raise BadFrame(f"edge {edge.id!r} of shape {list(tensor.shape)}")
            rows = next((n for n, due in zip(tensor.shape, edge.shape, strict=True) if due == "batch"), rows)
            tensors[edge.id] = at, tensor.dtype, tensor.shape
            at += tensor.nbytes
        if at > declared.bytes:
            raise BadFrame(f"message {message.id!r} of {at} bytes, declared are at most {declared.bytes}")
        types = {tensor.dtype for tensor in frame.tensors if tensor.nbytes}
        alike = WIRE_DTYPES[types.pop()] if len(types) == 1 else None
        return _Compared(message, frame.program, frame.tensors, tensors, alike)

    def heard(self, sender: str, frame: Frame) -> tuple[str, bytes]:
        """The kind and content of a control frame of `sender`; `BadFrame` where it is not declared."""
        control = self._hear.get((sender, frame.index))
        if control is None:
            raise BadFrame(f"control message number {frame.index}, which is not declared from {sender!r}")
        if len(frame.payload) > control.bytes:
            what = f"{len(frame.payload)} bytes of {control.kind!r}"
            raise BadFrame(f"{what}, declared are at most {control.bytes}")
        return control.kind, bytes(frame.payload)


def _bytes(edge: Edge, rows: int) -> int:
    if None in edge.shape:
        return OPEN
    sizes = [rows if size == "batch" else int(size or 0) for size in edge.shape]
    return prod(sizes) * np.dtype(edge.dtype).itemsize


def _fits(edge: Edge, shape: tuple[int, ...], rows: int, exact: bool = False) -> bool:
    if len(shape) != len(edge.shape):
        return False
    for size, due in zip(shape, edge.shape, strict=True):
        if due == "batch":
            if size > rows or (exact and size != rows):
                return False
        elif due is not None and size != due:
            return False
    return True


def _view(payload: memoryview, at: int, dtype: int, shape: tuple[int, ...]) -> Array:
    """A view; a copy only where the tensors before it leave it at an odd address."""
    array: Array = np.ndarray(shape, WIRE_DTYPES[dtype], payload, at)
    if not array.flags.aligned:
        array = array.copy()
        array.flags.writeable = False
    return array.astype(DTYPES[dtype], copy=False)
