"""What a party's loop agrees on with the others, by control messages; see `coordinator.Coordinator`."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from vflc_runtime.bundle.manifest import Manifest
from vflc_runtime.metrics import Meter
from vflc_runtime.party.peers import Peers, wrong

_SAVED, _LEAVING = b"s", b"l"
_WORDS = (False, True, None)
"""Whether an epoch is the best so far, as one byte; None where that is undefined."""


class PartyCoordinator:
    """The coordinator of one place, for one start of the run.

    Args:
        peers: the others.
        run: a name that all parties have for this training.
        watched: the program whose results say which epoch is the best: `evaluate` where rows are
            kept for validation, `train` where not.
    """

    waits = True

    def __init__(self, peers: Peers, run: str, watched: str) -> None:
        self.run, self._peers = run, peers
        self._manifest: Manifest = peers.manifest
        self._judge = self._manifest.decides.get(watched)
        self._unheard: int | None = None
        self._told_stop: int | None = None
        self._last: int | None = None

    # --- at the end of an epoch --------------------------------------------------------------

    def complete(self, *meters: Meter) -> None:
        peers, place = self._peers, self._peers.network.place
        if peers.receivers("loss"):
            sums = [meter.parts.get(place, 0.0) for meter in meters]
            peers.tell("loss", struct.pack(f">{len(sums)}d", *sums))
        heard = {peer: self._hear_sums(peer, len(meters)) for peer in peers.senders("loss")}
        for index, meter in enumerate(meters):
            parts = {**meter.parts, **{peer: sums[index] for peer, sums in heard.items()}}
            meter.parts = {each: parts[each] for each in self._manifest.places if each in parts}

    def _hear_sums(self, peer: str, count: int) -> tuple[float, ...]:
        payload = self._peers.hear(peer, "loss")
        if len(payload) != 8 * count:
            raise wrong(peer, "loss", f"has {len(payload)} bytes instead of {8 * count}")
        sums = struct.unpack(f">{count}d", payload)
        if not all(math.isfinite(value) for value in sums):
            raise wrong(peer, "loss", "is not finite")
        return sums

    def better(self, judge: Callable[[], bool | None]) -> bool | None:
        if self._judge in (None, self._peers.network.place):
            better = judge()
            if self._judge is not None:
                self._peers.tell("best", bytes([_WORDS.index(better)]))
            return better
        payload = self._peers.hear(self._judge, "best")
        if len(payload) != 1 or payload[0] >= len(_WORDS):
            raise wrong(self._judge, "best", "is neither yes nor no")
        return _WORDS[payload[0]]

    # --- stopping ----------------------------------------------------------------------------

    def stop_after(self, step: int, asked: bool) -> bool:
        """All stop one step after the farthest of them was told.

        Whoever has told where it stands does one more step, then waits for the others' word. It
        never keeps them from saying it: they have all that they need to come to the end of a step.
        """
        if self._last is None and self._told_stop is not None:
            counts = [self._peers.hear_number(peer, "stop") for peer in self._peers.senders("stop")]
            self._last = max(self._told_stop, *counts) + 1
        elif self._told_stop is None and (asked or self._peers.network.told("stop")):
            self._tell_stop(step)
        return self._last is not None and step >= self._last

    def _tell_stop(self, step: int) -> None:
        self._told_stop = step
        self._peers.tell_number("stop", step)

    def finish(self, step: int) -> None:
        """Tells that this place is at the end, and waits until all are."""
        if self._told_stop is None:  # whoever was asked to stop must not wait for this place
            self._tell_stop(step)
        self._meet(_SAVED)

    def leave(self) -> None:
        """Waits until all know that all are at the end; after it nobody needs this process."""
        self._meet(_LEAVING)

    def _meet(self, word: bytes) -> None:
        self._peers.tell("done", word)
        for peer in self._peers.senders("done"):
            heard = self._peers.hear(peer, "done")
            if heard != word:
                raise wrong(peer, "done", "comes out of turn")

    # --- checkpoints -------------------------------------------------------------------------

    def before_saving(self) -> None:
        """A place that saves drops its last checkpoint but one: all must have the last."""
        if self._unheard is None:
            return
        for peer in self._peers.senders("saved"):
            step = self._peers.hear_number(peer, "saved")
            if step != self._unheard:
                raise wrong(peer, "saved", f"names step {step} instead of {self._unheard}")
        self._unheard = None

    def saved(self, step: int) -> None:
        self._unheard = step
        self._peers.tell_number("saved", step)
