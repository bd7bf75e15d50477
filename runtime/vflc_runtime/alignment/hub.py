"""Intersections by way of a hub, which meets the others one by one with what is still common.

The hub learns which of its keys its first partner has, which of those the second has, and so on,
so of n parties it alone learns more than the result, and nothing where n is 2. The others learn the
result and, by the method `psi`, how many keys were left when their turn came.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from vflc_common.control import (
    ALIGN_COMMON,
    ALIGN_COUNT,
    ALIGN_HASHES,
    ALIGN_REQUEST,
    ALIGN_RESPONSE,
    ALIGN_SETUP,
    ALIGN_TURN,
    HASH,
    POINT,
    POINTS,
    Control,
)

from vflc_runtime.alignment.exchange import PeerExchange, wrong
from vflc_runtime.alignment.handshake import Handshake
from vflc_runtime.alignment.keys import Ranks, SortedKeys
from vflc_runtime.alignment.points import OnPiece, PointThreads, PsiClient, PsiServer, read_setup, split
from vflc_runtime.events import Aligning, Listener

UNDER_WAY = 4
"""Requests that are sent before their answers come, so that both sides and the link are busy."""


class KeyComparison(Protocol):
    """How two parties find which keys both have, of which only the hub learns."""

    def at_hub(self, link: PeerExchange, ranks: Ranks) -> Ranks:
        """Those of the hub's keys `ranks` that the partner has."""
        ...

    def at_partner(self, link: PeerExchange) -> None:
        """The other side of it."""
        ...


def intersect(keys: SortedKeys, handshake: Handshake, comparison: KeyComparison) -> Ranks:
    """The keys that all parties have."""
    salted = keys.hashes(handshake.salt)
    if handshake.place != handshake.hub:
        link = handshake.links[handshake.hub]
        comparison.at_partner(link)
        return _hear_common(link, salted)
    common = np.arange(len(keys), dtype=np.int64)
    # The fewest rows first: what the hub learns of the others is then soon little.
    for link in sorted(handshake.links.values(), key=lambda each: (each.rows, each.peer)):
        common = comparison.at_hub(link, common)
    told = np.sort(salted[common]).tobytes()
    for link in handshake.links.values():
        link.tell_number(ALIGN_COUNT, len(common))
        link.tell_all(ALIGN_COMMON, told)
    return common


def _hear_common(link: PeerExchange, salted: NDArray[Any]) -> Ranks:
    """Hashes under a salt that all know, of keys that all have: each finds its own among them."""
    count = link.hear_number(ALIGN_COUNT, min(len(salted), link.rows))
    told = _hear_hashes(link, ALIGN_COMMON, count)
    ranks: Ranks = np.flatnonzero(np.isin(salted, told))
    if len(ranks) != count:
        raise wrong(link.peer, "it sent common rows that this party does not have")
    return ranks


def _hear_hashes(link: PeerExchange, kind: Control, count: int) -> NDArray[Any]:
    """Hashes in ascending order, none twice."""
    found = np.frombuffer(b"".join(link.hear_all(kind, HASH * count)), dtype=f"S{HASH}")
    if (found[1:] <= found[:-1]).any():
        raise wrong(link.peer, f"{kind.name} is not sorted, or has duplicates")
    return found


class Hashed:
    """Keyed hashes: who knows the key can test any guess of a key, so only the hub gets them."""

    def __init__(self, keys: SortedKeys, handshake: Handshake, key: bytes) -> None:
        self._hashes = keys.hashes(key + handshake.salt)

    def at_hub(self, link: PeerExchange, ranks: Ranks) -> Ranks:
        link.tell_number(ALIGN_TURN, 0)
        theirs = _hear_hashes(link, ALIGN_HASHES, link.rows)
        return ranks[np.isin(self._hashes[ranks], theirs)]

    def at_partner(self, link: PeerExchange) -> None:
        link.hear_number(ALIGN_TURN, 0)
        link.tell_all(ALIGN_HASHES, np.sort(self._hashes).tobytes())


class Private:
    """Points under secrets: nobody can test a guess, not even the hub."""

    def __init__(self, keys: SortedKeys, pool: PointThreads, listen: Listener) -> None:
        self._keys, self._pool, self._listen = keys, pool, listen

    def _report(self, what: str) -> OnPiece:
        return lambda done, total: self._listen(Aligning(what, done, total))

    def at_hub(self, link: PeerExchange, ranks: Ranks) -> Ranks:
        texts = self._keys.texts(ranks)
        asking = PsiClient(self._pool, texts, self._report(f"keys for {link.peer}"))
        link.tell_number(ALIGN_TURN, len(texts))
        if not texts:
            return ranks
        points = [point for block in link.hear_all(ALIGN_SETUP, POINT * link.rows) for point in split(block)]
        if any(b <= a for a, b in pairwise(points)) or any(point[0] not in (2, 3) for point in points):
            name = ALIGN_SETUP.name
            raise wrong(link.peer, f"{name} is not sorted, has duplicates, or has bytes that are not points")
        found = self._ask(link, asking, read_setup(self._pool, points), len(texts))
        return ranks[np.sort(found)]

    def _ask(self, link: PeerExchange, asking: PsiClient, setup: Any, count: int) -> NDArray[np.int64]:
        """Sends the points, and compares what comes back while more is under way."""
        # Each comparison reads the peer's keys anew: few large ones where there are many answers.
        least = max(POINTS, count // (4 * self._pool.threads))
        answers: list[bytes] = []
        running: list[Any] = []
        first = 0
        for block in _answers(link, asking.points):
            answers += split(block)
            if len(answers) >= least or first + len(answers) == count:
                running.append(self._pool.submit(asking.compare, setup, answers, first, link.peer))
                first, answers = first + len(answers), []
        report = self._report(f"answers of {link.peer}")
        found = []
        for done, each in enumerate(running, 1):
            found.append(each.result())
            report(min(done * least, count), count)
        return np.concatenate(found)

    def at_partner(self, link: PeerExchange) -> None:
        answering = PsiServer(self._pool, self._keys.texts(), self._report("own keys"))
        count = link.hear_number(ALIGN_TURN, link.rows)
        if not count:
            return
        link.tell_all(ALIGN_SETUP, answering.setup)
        report, done = self._report(f"keys of {link.peer}"), 0
        for block in link.hear_all(ALIGN_REQUEST, POINT * count):
            link.tell(ALIGN_RESPONSE, answering.answer(block, link.peer))
            done += len(block) // POINT
            report(done, count)


def _answers(link: PeerExchange, points: bytes) -> Iterator[bytes]:
    """Sends points and hears them under the peer's secret as well, some messages behind."""
    size = ALIGN_REQUEST.bytes
    blocks = [points[start : start + size] for start in range(0, len(points), size)]
    for number in range(len(blocks) + UNDER_WAY):
        if number < len(blocks):
            link.tell(ALIGN_REQUEST, blocks[number])
        if number >= UNDER_WAY:
            yield link.hear(ALIGN_RESPONSE, len(blocks[number - UNDER_WAY]))
