"""What follows from pieces of a value."""

from __future__ import annotations

from vflc_common.numpy import np

from vflc.ops.claims.case import Case, near


def along(case: Case) -> bool:
    for axis in case.row_axes():
        to, pieces = case.op.parts.along(case.types, case.attrs, axis), case.halves(axis)
        if to is None or pieces is None:
            continue
        made = [case.at(case.with_input(0, piece)) for piece in pieces]
        if not near(np.concatenate(made, axis=to), case.at(case.arrays)):
            return False
    return True


def reduces(case: Case) -> bool:
    how, whole = case.op.parts.reduces, case.at(case.arrays)
    for axis in (axis for axis in case.attrs["axes"] if axis in case.row_axes()):
        if (pieces := case.halves(axis)) is None:
            continue
        one, other = (case.at(case.with_input(0, piece)) for piece in pieces)
        share = 1 / case.arrays[0].shape[axis]
        made = {
            "sum": one + other,
            "mean": share * one + (1 - share) * other,
            "max": np.maximum(one, other),
            "min": np.minimum(one, other),
        }[str(how)]
        if not near(made, whole):
            return False
    return how != "sum" or not case.at(case.with_input(0, np.zeros_like(case.arrays[0]))).any()


def product(case: Case) -> bool:
    if not case.op.parts.product(case.types, case.attrs):
        return True
    (x, kernel, *bias), last = case.arrays, case.arrays[0].ndim - 1
    pieces = zip(case.halves(last) or [], [kernel[:1], kernel[1:]], strict=False)
    made = sum(case.at(list(pair)) for pair in pieces)
    return x.shape[last] < 2 or near(np.asarray(made + sum(bias)), case.at(case.arrays))


def shares(case: Case) -> bool:
    x, axis = case.arrays[0], case.attrs["axis"]
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    found = powers / powers.sum(axis=axis, keepdims=True)
    out = case.at(case.arrays)
    return near(np.exp(out) if case.op.parts.shares == "logs" else out, found)


def cuts(case: Case) -> bool:
    assert case.op.parts.cuts is not None
    axis, start, stop = case.op.parts.cuts(case.attrs)
    return np.array_equal(case.at(case.arrays), np.take(case.arrays[0], range(start, stop), axis))
