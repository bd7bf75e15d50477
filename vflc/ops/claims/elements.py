"""Where elements of the output come from, and what follows from shapes alone."""

from __future__ import annotations

from typing import Any

from vflc_common.numpy import np

from vflc.ir.types import BATCH
from vflc.ops.claims.case import SIZES, Case, near


def elementwise(case: Case) -> bool:
    whole = [np.array(each) for each in np.broadcast_arrays(*case.arrays)]
    before = case.at(whole)
    if before.shape != whole[0].shape or not np.array_equal(before, case.at(case.arrays), equal_nan=True):
        return False
    order = np.random.default_rng(0).permutation(whole[0].size)
    mixed = case.at([each.reshape(-1)[order].reshape(each.shape) for each in whole])
    return np.array_equal(mixed.reshape(-1), before.reshape(-1)[order], equal_nan=True)


def differs(case: Case) -> bool:
    source, out, what = case.types[0], case.node.type, case.op.differs
    if not np.array_equal(case.at(case.arrays).reshape(-1), case.arrays[0].reshape(-1)):
        return False
    return (what == "shape" or out.sizes == source.sizes) and (what == "type" or out.dtype == source.dtype)


def broadcasts(case: Case) -> bool:
    out = case.at(case.arrays)
    return np.array_equal(out, np.broadcast_to(case.arrays[0], out.shape))


def places(case: Case) -> bool:
    """Every element of an input stands once in the output, and only `padded` ones have zeros beside."""
    numbers, start = [], 1
    for array in case.arrays:
        numbers.append(np.arange(start, start + array.size, dtype=np.float64).reshape(array.shape))
        start += array.size
    out = case.at(numbers)
    found = sorted(out.reshape(-1))
    others = len(found) - (start - 1)
    if found != [0.0] * others + list(range(1, start)) or case.op.joins != (others == 0):
        return False
    if not case.op.joins:
        return True
    join: Any = np.concatenate if case.op.places == "joined" else np.stack
    return np.array_equal(out, join(numbers, axis=case.attrs["axis"]))


def signs(case: Case) -> bool:
    parts = zip(case.op.signs, case.arrays, strict=True)
    return near(case.at(case.arrays), np.asarray(sum(sign * array for sign, array in parts)))


def keeps_zero(case: Case) -> bool:
    zeros = (case.with_input(i, np.zeros_like(array)) for i, array in enumerate(case.arrays))
    return not any(case.at(arrays).any() for arrays in zeros)


def jumps(case: Case) -> bool:
    """Flat everywhere but where inputs meet."""
    if any(case.jacobian(i).any() for i in case.floats(64)):
        return False
    meeting = [np.zeros_like(array) for array in case.arrays]
    if meeting[0].dtype.kind != "f":
        return True
    here, *beside = (case.at([meeting[0] + step, *meeting[1:]]) for step in (0, -1e-9, 1e-9))
    return any(not np.array_equal(here, each) for each in beside)


def holds(case: Case) -> bool:
    assert case.op.holds is not None
    x, y = np.broadcast_arrays(*case.arrays)
    told = [case.op.holds(a, b) for a, b in zip(x.reshape(-1), y.reshape(-1), strict=True)]
    equal = case.at([np.zeros_like(array) for array in case.arrays])
    return case.at(case.arrays).reshape(-1).tolist() == told and bool((equal == case.op.holds(0, 0)).all())


def shape_only(case: Case) -> bool:
    last = range(len(case.arrays) - case.op.shape_only, len(case.arrays))
    changed = (case.with_input(i, case.arrays[i] + np.ones_like(case.arrays[i])) for i in last)
    return all(np.array_equal(case.at(arrays), case.at(case.arrays)) for arrays in changed)


def tells_sizes(case: Case) -> bool:
    """What follows from sizes says so: the same numbers in longer axes give the same numbers."""
    if case.sample.values or not case.op.shape_only:
        return True
    told = tuple(case.op.tells_sizes(case.attrs))
    found = []
    for sizes in (SIZES, (7, 6)):
        shapes = [[a.size or sizes[a.name != BATCH] for a in type_.axes] for type_ in case.types]
        found.append({*case.at([np.full(shape, 0.5) for shape in shapes]).reshape(-1).tolist()})
    return bool(told) or found[0] == found[1]
