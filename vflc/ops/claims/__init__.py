"""What an op says of itself, held against its reference on its samples: for the tests of whoever adds one.

Passes take an op at its word: they split, fuse and batch by the fields of its record. A field that is wrong
would change what models compute, and nothing later could notice. This needs numpy; compiling does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vflc.ops.claims import elements, many, pieces, slopes
from vflc.ops.claims.case import Case
from vflc.ops.registry import Op


def wrong(op: Op) -> list[str]:
    """What an op says of itself that is not so on one of its samples: `elementwise, of sample 0`.

    Args:
        op: as it is registered.
    """
    found = []
    for index, sample in enumerate(op.samples):
        found += [f"{claim}, of sample {index}" for claim in broken(Case(op, sample, index))]
    return found


def broken(case: Case) -> Iterator[str]:
    """The fields that do not hold of a case."""
    for claim, check in CLAIMS.items():
        try:
            holds = check(case)
        except (ValueError, IndexError, KeyError, TypeError, ArithmeticError, AttributeError):
            holds = False
        if not holds:
            yield claim


def _where(says: Callable[[Case], object], check: Callable[[Case], bool]) -> Callable[[Case], bool]:
    return lambda case: not says(case) or check(case)


CLAIMS: dict[str, Callable[[Case], bool]] = {
    "slopes": lambda case: slopes.slopes(case) and slopes.linear(case),
    "bounds": slopes.bounds,
    "elementwise": _where(lambda case: case.op.elementwise, elements.elementwise),
    "axes": _where(lambda case: case.op.axes or case.op.leading, many.axes),
    "users": many.users,
    "differs": _where(lambda case: case.op.differs, elements.differs),
    "broadcasts": _where(lambda case: case.op.broadcasts(case.attrs), elements.broadcasts),
    "places": _where(lambda case: case.op.places, elements.places),
    "signs": _where(lambda case: case.op.signs, elements.signs),
    "keeps_zero": _where(lambda case: case.op.keeps_zero, elements.keeps_zero),
    "jumps": _where(lambda case: case.op.jumps, elements.jumps),
    "holds": _where(lambda case: case.op.holds, elements.holds),
    "shape_only": _where(lambda case: case.op.shape_only, elements.shape_only),
    "tells_sizes": elements.tells_sizes,
    "parts.along": pieces.along,
    "parts.reduces": _where(lambda case: case.op.parts.reduces, pieces.reduces),
    "parts.product": pieces.product,
    "parts.shares": _where(lambda case: case.op.parts.shares, pieces.shares),
    "parts.cuts": _where(lambda case: case.op.parts.cuts, pieces.cuts),
    "summands": _where(lambda case: case.op.summands, many.summands),
    "by_id": _where(lambda case: case.op.by_id, many.by_id),
    "zero_for_none": many.zero_for_none,
}
"""By field: whether it holds of a case."""
