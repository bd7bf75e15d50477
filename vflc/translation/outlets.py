"""Structures with several results: what follows alike from columns, or from values that are read twice.

From the columns of several parties, say, to what each party's part gives the rest of the model. What is read
alike is followed as long as it depends on nothing else that the columns reach, so that a use of a block never
waits for another of what it gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vflc.translation.graph import Value
from vflc.translation.pieces import PartKeys, SpecPieces

MOST_RESULTS = 5
"""Of a block that is still easy to read."""
ReadAt = tuple[int, int]
"""A piece that reads another, and at which place."""


def result_sets(pieces: SpecPieces, outputs: Sequence[Value]) -> Iterator[list[PartKeys]]:
    """Results of structures, each in all uses."""
    read: dict[int, list[ReadAt]] = {key: [] for key in pieces}
    for piece in pieces.values():
        for place, key in enumerate(piece.inputs):
            read[key].append((piece.key, place))
    world = set(map(id, outputs))
    seeds: dict[object, list[int]] = {}
    for key, found in read.items():
        if len(found) > 1 and key not in world:
            kinds = sorted((repr(pieces[reader].kind), place) for reader, place in found)
            seeds.setdefault((repr(pieces[key].kind), repr(kinds)), []).append(key)
    for keys in seeds.values():
        if len(keys) > 1:
            results = _results(tuple(keys), pieces, read, world)
            if 1 < len(results) <= MOST_RESULTS:
                yield results


def _results(
    seed: PartKeys, pieces: SpecPieces, read: dict[int, list[ReadAt]], world: set[int]
) -> list[PartKeys]:
    """What a structure that begins with a seed gives: what is read outside of it."""
    below = _below(seed, read)
    inside = [seed]
    for keys in inside:
        for row in _read_alike(keys, pieces, read):
            if row not in inside and _depends_inside(row, pieces, inside, below):
                inside.append(row)
    members = [{row[at] for row in inside} for at in range(len(seed))]
    return [
        row
        for row in inside[1:]
        if any(
            key in world or any(reader not in mine for reader, _ in read[key])
            for key, mine in zip(row, members, strict=True)
        )
    ]


def _below(seed: PartKeys, read: dict[int, list[ReadAt]]) -> set[int]:
    """All that depends on any of the seeds."""
    found, waiting = set[int](), list(seed)
    while waiting:
        for reader, _ in read[waiting.pop()]:
            if reader not in found:
                found.add(reader)
                waiting.append(reader)
    return found


def _read_alike(keys: PartKeys, pieces: SpecPieces, read: dict[int, list[ReadAt]]) -> Iterator[PartKeys]:
    """Pieces of one kind that read the values at one place, each another."""
    by_kind: list[dict[object, list[int]]] = []
    for key in keys:
        found: dict[object, list[int]] = {}
        for reader, place in read[key]:
            found.setdefault((pieces[reader].kind, place), []).append(reader)
        by_kind.append(found)
    for kind, first in by_kind[0].items():
        rows = [found.get(kind, []) for found in by_kind]
        if kind[0] is not None and all(len(row) == len(first) for row in rows):  # type: ignore[index]
            yield from (row for row in zip(*rows, strict=True) if len(set(row)) == len(row))


def _depends_inside(row: PartKeys, pieces: SpecPieces, inside: Sequence[PartKeys], below: set[int]) -> bool:
    """Whether it reads nothing that depends on a seed but what is inside."""
    inputs = zip(*(pieces[key].inputs for key in row), strict=True)
    return all(given in inside or not below.intersection(given) for given in inputs)
