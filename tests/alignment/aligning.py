"""Parties that align in threads of one process, with all that each of them hears kept for inspection."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from dataclasses import dataclass, field

import pyarrow as pa
import pytest
from threads import Exchange
from vflc_common.control import ALIGNING
from vflc_common.text import text
from vflc_runtime.alignment.align import align
from vflc_runtime.alignment.settings import FOUND_BY_ALL, AlignSettings
from vflc_runtime.bundle.manifest import ControlMessage
from vflc_runtime.events import silent

SHARED = b"a key that only the parties know"


@dataclass
class Recorder:
    """Everything that a party hears; `change` may put something else in its place."""

    network: object
    heard: dict = field(default_factory=lambda: defaultdict(list))
    change: object = None

    def tell(self, receiver, kind, payload):
        self.network.tell(receiver, kind, payload)

    def hear(self, sender, kind, limit, timeout=None):
        payload = self.network.hear(sender, kind, limit, timeout)
        if self.change is not None:
            payload = self.change(sender, kind, payload)
        self.heard[sender, kind].append(payload)
        return payload


@dataclass
class Ended:
    """What came of it at each party: positions or the exception, what it heard, and what it reported."""

    results: dict
    heard: dict
    events: dict

    def keys(self, tables):
        """The keys in the text that they are compared as."""
        return {place: [text(tables[place][row]) for row in rows] for place, rows in self.results.items()}

    @property
    def codes(self):
        return {place: getattr(error, "code", type(error).__name__) for place, error in self.results.items()}


def controls(places):
    pairs = itertools.permutations(places, 2)
    return [ControlMessage(kind.name, a, b, kind.bytes) for a, b in pairs for kind in ALIGNING]


def together(
    method, tables, settings=None, change=None, methods=None, prepare=None, timeout=60.0, before=None
):  # fmt: skip
    """Aligns all `tables`, lists of keys by party, each in its thread.

    `settings`, `change` of what it hears, `methods`, what is to `prepare` its network, and what it does
    `before` it aligns are by party, for those that differ from the others.
    """
    if method == "psi":
        pytest.importorskip("private_set_intersection.python", reason="needs vflc[psi]")
    exchange = Exchange(tables, controls(tables))
    recorders = {place: Recorder(exchange.join(place, timeout)) for place in tables}
    for place, how in (change or {}).items():
        recorders[place].change = how
    for place, how in (prepare or {}).items():
        how(recorders[place].network)
    results, events = {}, {place: [] for place in tables}

    def work(place):
        network = recorders[place].network
        peers = [each for each in tables if each != place]
        try:
            network.open()
            (before or {}).get(place, silent)(network)
            chosen = (settings or {}).get(place, AlignSettings(key=SHARED, threads=1))
            keys = pa.array(tables[place], pa.string())
            how, listen = (methods or {}).get(place, method), events[place].append
            results[place] = align(how, place, peers, keys, recorders[place], chosen, listen).tolist()
            network.close()
        except Exception as error:
            results[place] = error
            network.close("done" if getattr(error, "code", None) in FOUND_BY_ALL else "failed")

    threads = [threading.Thread(target=work, args=(place,), daemon=True) for place in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
        assert not thread.is_alive()
    return Ended(results, {place: recorder.heard for place, recorder in recorders.items()}, events)
