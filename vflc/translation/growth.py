"""Parts that are alike, grown from their results as long as they are alike."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from msgspec import Struct

from vflc.translation.pieces import PartKeys, SpecPieces


class Repeat(Struct, eq=False):
    """Parts that are alike: of each piece its keys in the uses, from the results on; and of each input."""

    members: list[PartKeys]
    inputs: list[PartKeys]
    results: int = 1

    @property
    def count(self) -> int:
        return len(self.members[0])


class Growth:
    """Parts around results, as large as they can be for all of them.

    Args:
        results: keys of pieces of one kind; of each result.
        read: how often each piece is read.
        order: the place of each piece.
    """

    def __init__(
        self, results: Sequence[PartKeys], pieces: SpecPieces, read: dict[int, int], order: dict[int, int]
    ) -> None:
        self.results, self.pieces, self.read = results, pieces, read
        self.groups: list[PartKeys] = []
        self._reads: dict[PartKeys, int] = {}
        members, waiting, inputs = [*results], list[tuple[PartKeys, PartKeys]](), set[PartKeys]()
        self._outer = {key for keys in results for key in keys}
        for keys in results:
            self._take(keys, waiting, order)
        while waiting:
            _, keys = heappop(waiting)
            if keys in results:
                continue
            kinds = [self._kind(key, keys) for key in keys]
            if kinds[0] is not None and len(set(kinds)) == 1:
                members.append(keys)
                self._take(keys, waiting, order)
            else:
                inputs.add(keys)
                self._split(kinds)
        self.repeat = Repeat(members, self._as_read(set(members)), len(results))

    def _take(self, keys: PartKeys, waiting: list[tuple[PartKeys, PartKeys]], order: dict[int, int]) -> None:
        """What pieces read is looked at after everything that may read it, too."""
        for given in zip(*(self.pieces[key].inputs for key in keys), strict=True):
            if given not in self._reads:
                heappush(waiting, (tuple(-order[key] for key in given), given))
            self._reads[given] = self._reads.get(given, 0) + 1

    def _kind(self, key: int, keys: PartKeys) -> object:
        """The kind of a piece; None where it cannot be in a part."""
        alone = self.read[key] == self._reads[keys] and keys.count(key) == 1
        return self.pieces[key].kind if alone and key not in self._outer else None

    def _split(self, kinds: Sequence[object]) -> None:
        """Groups of results whose parts may be larger than those of all."""
        groups: dict[object, list[int]] = {}
        (first, *_) = self.results
        for result, kind in zip(first, kinds, strict=True):
            if kind is not None:
                groups.setdefault(kind, []).append(result)
        self.groups += [tuple(group) for group in groups.values() if 1 < len(group) < len(first)]

    def _as_read(self, members: set[PartKeys]) -> list[PartKeys]:
        """Inputs in the order in which an expression names them."""
        found: dict[PartKeys, None] = {}
        waiting, seen = [*self.results][::-1], set[PartKeys]()
        while waiting:
            keys = waiting.pop()
            if keys not in members:
                found[keys] = None
            elif keys not in seen:
                seen.add(keys)
                inner = list(zip(*(self.pieces[key].inputs for key in keys), strict=True))
                waiting += inner[::-1]
        return list(found)
