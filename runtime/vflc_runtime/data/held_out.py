"""Which rows are kept for validation, where a column of a table decides it; the seed does the rest.

All of it follows from the column, the seed and the number of aligned rows: any machine finds the same.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from vflc_common.arrays import Indices
from vflc_common.words import HeldOutBy

from vflc_runtime.data.batches import permutation
from vflc_runtime.errors import Failure, Where

CODE = "VFL0747"


def held_out(by: HeldOutBy, values: pa.Array, seed: int, fraction: float, fold: int) -> Indices:
    """The rows that are kept, [kept] in order; perhaps none, or all: see `check`.

    Args:
        by: how the column decides.
        values: the column, [rows]; rows in which it is missing do not fulfil a condition, and are a group,
            or a class, of their own.
        seed: shuffles what the column leaves open.
        fraction: the share of the rows that is kept, where it is no condition.
        fold: which part of that size, counted from 0: those of a fraction 1/k are disjoint, and all rows
            together.
    """
    if by == "where":
        truth = values if pa.types.is_boolean(values.type) else pc.not_equal(values.cast(pa.float64()), 0.0)
        mask = pc.fill_null(truth, False)
        return np.flatnonzero(mask.to_numpy(zero_copy_only=False))
    codes = _codes(values)
    mask_of = _groups if by == "groups" else _strata
    return np.flatnonzero(mask_of(codes, seed, fraction, fold))


def check(by: HeldOutBy, kept: Indices, rows: int, where: Where | None = None) -> None:
    """VFL0747 where no row is left to train on, or none, of `kept` [rows], to validate with."""
    if 0 < len(kept) < rows:
        return
    what = "none" if len(kept) == 0 else "all"
    reasons = {
        "where": (
            f"the condition of `validation` holds for {what} of the {rows:,} rows",
            "change the condition",
        ),
        "groups": (
            f"groups that stay whole put {what} of the {rows:,} rows into validation",
            "group by a column with more values, or give another fraction",
        ),
        "strata": (
            f"the fraction puts {what} of the {rows:,} rows into validation",
            "give more rows, or another fraction; a column of numbers is no column of classes",
        ),
    }
    raise Failure(CODE, *reasons[by], where)


def packed(kept: Indices, rows: int) -> bytes:
    """A bit for each row, in order: whether it is one of `kept` [rows]."""
    mask = np.zeros(rows, bool)
    mask[kept] = True
    return np.packbits(mask).tobytes()


def unpacked(bits: bytes, rows: int) -> Indices:
    """The rows that are kept, [kept], of so many bits as there are rows."""
    return np.flatnonzero(np.unpackbits(np.frombuffer(bits, np.uint8), count=rows))


def _codes(values: pa.Array) -> NDArray[np.int64]:
    """The distinct values numbered in the order of their first rows; missing values are one of them."""
    if pa.types.is_floating(values.type):
        values = pc.fill_null(values, float("nan"))  # one value, however it is missing
    indices = values.dictionary_encode(null_encoding="encode").indices
    return np.asarray(indices.to_numpy(zero_copy_only=False), np.int64)


def _groups(codes: NDArray[np.int64], seed: int, fraction: float, fold: int) -> NDArray[np.bool_]:
    """Whole groups, drawn until they have as many rows as the fraction: by where the middle of each lies."""
    sizes = np.bincount(codes)
    drawn = permutation(len(sizes), seed, "split groups")
    ends = np.cumsum(sizes[drawn])
    middles = (ends - sizes[drawn] / 2) / len(codes)
    chosen = drawn[(middles >= fold * fraction) & (middles < (fold + 1) * fraction)]
    kept: NDArray[np.bool_] = np.isin(codes, chosen)
    return kept


def _strata(codes: NDArray[np.int64], seed: int, fraction: float, fold: int) -> NDArray[np.bool_]:
    """Of the rows of each value, shuffled, the part that is due."""
    order = permutation(len(codes), seed, "split strata")
    order = order[np.argsort(codes[order], kind="stable")]  # value after value, each shuffled
    sizes = np.bincount(codes)
    places = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    size = np.repeat(sizes, sizes)
    first, end = (np.round(each * size * fraction) for each in (fold, fold + 1))
    kept = np.zeros(len(codes), bool)
    kept[order] = (places >= first) & (places < end)
    return kept
