"""Runs one place's program over one batch. There is one executor: only channels and engines differ.

A batch is one of rows or, of a population, a group of users who run together.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array
from vflc_common.words import MASKED

from vflc_runtime.bundle.manifest import Manifest, Message
from vflc_runtime.bundle.plan import PlacePlan
from vflc_runtime.data.spread import KeySpread
from vflc_runtime.engines.engine import StepRunner
from vflc_runtime.finite import NotFinite, check_received, finite
from vflc_runtime.protect.guards import Guards
from vflc_runtime.protect.masks import Masks
from vflc_runtime.protect.wire import Wire
from vflc_runtime.transport.channel import Channel
from vflc_runtime.transport.messages import Envelope, Gate

NO_SPREADS: Mapping[str, KeySpread] = {}


class Executor:
    """One place: its plan, its engine and its channel.

    No number that is not finite leaves. The network takes none in, and neither does this, of those
    that came packed.
    `sent` counts the bytes of every edge that left, by edge id.
    """

    def __init__(
        self,
        plan: PlacePlan,
        manifest: Manifest,
        engine: StepRunner,
        channel: Channel,
        guards: Guards | None = None,
    ) -> None:
        self.plan, self.engine, self._channel = plan, engine, channel
        self.guards = guards or Guards(plan, plugins=manifest.plugins)
        self._messages = manifest.messages
        own = {e.id: e for e in manifest.edges.values() if plan.place in (e.sender, e.receiver)}
        leaving = {name: e.packing for name, e in own.items() if e.packing and e.sender == plan.place}
        masked = {name: packing for name, packing in leaving.items() if packing.kind == MASKED}
        self.masks = Masks(plan.place, masked, manifest.digest)
        self._wire = Wire({name: edge.packing for name, edge in own.items()}, self.masks, plan.precision)
        self._values = {edge.id: edge.value for edge in manifest.edges.values()}
        self._of_rows = {name for name, edge in own.items() if edge.shape[:1] == ("batch",)}
        self._gates = {name: Gate(manifest, plan.place, name) for name in plan.programs}
        near = getattr(channel, "near", False)  # what is read on the way, or by a listener, is read here
        self._lend = getattr(engine, "lend", None) if near else None
        self.sent: dict[str, int] = {
            edge.id: 0 for edge in manifest.edges.values() if edge.sender == plan.place
        }

    def run(
        self,
        program: str,
        inputs: Mapping[str, Array],
        rows: int,
        step: int,
        indices: NDArray[np.int64] | None = None,
        spreads: Mapping[str, KeySpread] = NO_SPREADS,
    ) -> Generator[None, None, None]:
        """One batch of `rows` rows, or users; `inputs` are [rows, …] by id. Yields to wait for a message.

        The batch begins at once, also where the place has to wait before it comes to its first step.

        `indices` [rows] says which rows of the data these are, to protections that keep something for each.
        `spreads` is how the rows of places that have distinct ones stand beside these: such a place runs on
        as many, and `inputs` are they. The values that the program reports stay in the engine until the
        next batch.
        """
        engine, place = self.engine, self.plan.place
        rows = spreads[place].rows if place in spreads else rows
        engine.begin(program, inputs, rows, step)
        return self._steps(program, rows, step, indices, spreads)

    def _steps(
        self,
        program: str,
        rows: int,
        step: int,
        indices: NDArray[np.int64] | None,
        spreads: Mapping[str, KeySpread],
    ) -> Generator[None, None, None]:
        engine = self.engine
        guarded, wired = bool(self.guards), bool(self._wire)  # most programs pay for neither
        if guarded:
            self.guards.begin(program)
        if wired:
            self._wire.reset()
        for each in self.plan.programs.get(program, ()):
            do, target = each.do, each.target
            if do == "run":
                engine.run(target)
            elif do == "catch_up":
                engine.catch_up(target)
            elif do == "update":
                engine.update(target)
            elif do == "send":
                message = self._messages[target]
                self._send(message, program, step, spreads.get(message.receiver))
            elif do == "receive":
                message = self._messages[target]
                while (envelope := self._channel.take(message.sender, target)) is None:
                    yield
                spread = spreads.get(message.sender)
                self._gates[program].check(target, envelope, step, spread.rows if spread else rows)
                tensors = envelope.tensors
                for edge in self._wire.values(tensors) if wired else tensors:
                    received = tensors[edge]
                    if wired:
                        received = self._wire.unpack(edge, tensors)
                        check_received(edge, message.sender, self.plan.place, step, received)
                    if guarded:
                        self.guards.hear(edge, np.asarray(received))
                    if spread is not None and edge in self._of_rows:
                        received = spread.expanded(np.asarray(received))
                    engine.put(self._values[edge], received)
            elif do == "protect":
                self.guards.apply(target, engine, rows, indices)
            else:
                engine.assign(target)
        if guarded:
            self.guards.finish(program, engine, rows, indices)

    def _send(self, message: Message, program: str, step: int, spread: KeySpread | None) -> None:
        sent, values = self.sent, self._values
        edges = [*(self._wire.values(message.edges) if self._wire else message.edges)]
        given = [values[edge] for edge in edges]
        if self._lend is not None and spread is None and not self._wire:
            tensors = dict(zip(edges, self._lend(given), strict=True))
        else:
            tensors = {edge: self.engine.get(value) for edge, value in zip(edges, given, strict=True)}
        if spread is not None:  # the receiver has one row for several of these
            tensors = {e: spread.summed(t) if e in self._of_rows else t for e, t in tensors.items()}
        for edge, tensor in tensors.items():
            if not finite(tensor):
                what = f"what {message.sender!r} is about to send to {message.receiver!r} on edge {edge!r}"
                raise NotFinite(f"{what} is not finite", training=program == "train")
        if self._wire:
            tensors = self._wire.pack(tensors, program)
        for edge, tensor in tensors.items():
            sent[edge] += tensor.nbytes
        envelope = Envelope(message.id, message.sender, message.phase, program, step, tensors)
        self._channel.send(message.receiver, envelope)
