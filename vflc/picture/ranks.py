"""Which rank, from the top, each box is in: below all that it reads, and no rank of a lane too wide."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class RankedBox(Struct):
    """A box as the layout sees it.

    Args:
        column: lanes have even numbers; what crosses stands in odd ones, between them.
        late: whether it had better be near who reads it than at the top.
    """

    column: int
    width: float
    height: float
    late: bool = False


Arcs = list[tuple[int, int]]


def without_cycles(count: int, arcs: Sequence[tuple[int, int]]) -> tuple[Arcs, frozenset[tuple[int, int]]]:
    """The arcs, some of them turned around so that there is no cycle, and which those are, as turned.

    Folded blocks may read each other. Boxes are visited in their order, so that few arcs are turned.
    """
    readers: list[list[int]] = [[] for _ in range(count)]
    for source, target in arcs:
        readers[source].append(target)
    state = [0] * count  # 1: on the path, 2: done
    turned: set[tuple[int, int]] = set()
    for root in range(count):
        if state[root]:
            continue
        path = [(root, iter(readers[root]))]
        state[root] = 1
        while path:
            box, rest = path[-1]
            for target in rest:
                if state[target] == 1:
                    turned.add((target, box))
                elif not state[target]:
                    state[target] = 1
                    path.append((target, iter(readers[target])))
                    break
            else:
                state[box] = 2
                path.pop()
    kept = [(t, s) if (t, s) in turned else (s, t) for s, t in arcs if s != t]
    return list(dict.fromkeys(kept)), frozenset(turned)


def ranks(boxes: Sequence[RankedBox], arcs: Arcs, widest: dict[int, float]) -> list[int]:
    """A rank for each box, by the longest path to it and what has room.

    Args:
        boxes: in an order in which each had better come.
        arcs: without cycles.
        widest: by column, how wide the boxes of a rank may be together; one box always has room.
    """
    reads: list[list[int]] = [[] for _ in boxes]
    readers: list[list[int]] = [[] for _ in boxes]
    for source, target in arcs:
        reads[target].append(source)
        readers[source].append(target)
    found = [0] * len(boxes)
    used: dict[tuple[int, int], float] = {}
    full: dict[int, int] = {}
    for box in _in_order(reads, readers):
        each = boxes[box]
        rank = 1 + max((found[source] for source in reads[box]), default=-1)
        if not reads[box]:
            rank = max(rank, full.get(each.column, 0))
        while (taken := used.get((each.column, rank), 0.0)) and taken + each.width > widest[each.column]:
            rank += 1
        if not reads[box]:
            full[each.column] = rank
        used[each.column, rank] = taken + each.width
        found[box] = rank
    for box, each in enumerate(boxes):
        if each.late and readers[box] and not reads[box]:
            found[box] = max(found[box], min(found[target] for target in readers[box]) - 1)
    return _without_gaps(found)


def _in_order(reads: list[list[int]], readers: list[list[int]]) -> list[int]:
    """Boxes after what they read; of those that may come, the one that was given first."""
    from heapq import heapify, heappop, heappush

    missing = [len(each) for each in reads]
    ready = [box for box, count in enumerate(missing) if not count]
    heapify(ready)
    order = []
    while ready:
        box = heappop(ready)
        order.append(box)
        for target in readers[box]:
            missing[target] -= 1
            if not missing[target]:
                heappush(ready, target)
    return order


def _without_gaps(found: list[int]) -> list[int]:
    number = {rank: index for index, rank in enumerate(sorted(set(found)))}
    return [number[rank] for rank in found]
