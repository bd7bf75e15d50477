"""Labels from gradients, exactly where the model allows it: pure functions on arrays.

A gradient that comes back for a row is a coefficient times δ, the derivative of the loss at the logit.
For `bce` δ = p − y, whose sign is the label; for `cce` it is p − onehot(y), whose one negative entry is;
for `mse` it is the residual. Where all rows have the same coefficients, sign and direction of the joint
row give labels up to one exchange of their names.

Norm and cosine are the norm-based and the direction-based attack of Li et al., "Label Leakage and
Protection in Two-party Split Learning", ICLR 2022. Sign and direction are the direct label inference of Fu
et al., "Label Inference Attacks Against Vertical Federated Learning", USENIX Security 2022, on gradients
behind a linear map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array

COORDINATES = 64
"""Coordinates that are looked at one by one: those of the largest mean square."""
VOTERS = 256
"""Columns that vote on a row's sign: those that have one in most rows."""
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Guess:
    """A row's label as an attack sees it.

    Args:
        how: the attack, and what it looked at.
        labels: class by row [n]; the names of classes mean nothing, only which rows share one.
        values: the number the classes were cut from [n]; for `mse` the residual up to one factor.
    """

    how: str
    labels: NDArray[np.int64]
    values: Array


def by_norm(rows: Array) -> Array:
    """The norm of each row [n, w] → [n]: rare classes are predicted worse, and have larger gradients."""
    norms: Array = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return norms


def by_cosine(rows: Array, known: int) -> Array:
    """The cosine of each row with row `known`, whose label the attacker knows [n, w] → [n]."""
    units = rows.astype(np.float64) / np.maximum(by_norm(rows), _TINY)[:, None]  # 0 where a row is
    cosines: Array = units @ units[known]
    return cosines


def by_projection(rows: Array) -> Array:
    """Each row along the direction that all share most, not centred [n, w] → [n].

    Rows that are one vector times δ lie on a line through 0, and this gives δ up to one factor.
    """
    return rows.astype(np.float64) @ principal(rows)


def by_consensus(rows: Array) -> Array:
    """How far a row's signs agree with those that columns share [n, w] → [n].

    Finds δ's sign where coefficients differ by row but each column has a sign of its own.
    """
    signs = np.sign(rows.astype(np.float64))
    present = np.abs(signs)
    chosen = np.argsort(-present.sum(axis=0), kind="stable")[:VOTERS]
    signs, present = signs[:, chosen], present[:, chosen]
    agreements, overlaps = signs.T @ signs, present.T @ present
    turned, taken = np.zeros(len(chosen)), np.zeros(len(chosen), bool)
    shared = np.zeros(len(chosen))
    for _ in chosen:  # next the column that shares most rows with those taken: its sign follows from them
        column = int(np.argmax(np.where(taken, -1.0, shared)))
        turned[column] = 1.0 if agreements[column] @ turned >= 0 else -1.0
        taken[column] = True
        shared += overlaps[column]
    total: Array = signs @ turned
    return total


def by_factor(rows: Array, known: Array) -> Array:
    """Each row times a number of it that the receiver knows, then along the shared signs [n, w] → [n, c].

    Undoes a coefficient that is one of the receiver's own values: where two of them are multiplied, the
    gradient of one is δ times the other. The first column pairs columns where there are as many.

    Args:
        rows: gradients [n, w].
        known: what the receiver sent itself [n, m]; its largest columns are tried.
    """
    signs = np.sign(known.astype(np.float64))
    paired = [by_consensus(rows * signs)] if rows.shape == known.shape else []
    tried = [by_consensus(rows * signs[:, [column]]) for column in largest(known)]
    return np.stack([*paired, *tried], axis=1)


def largest(rows: Array) -> NDArray[np.int64]:
    """Which columns to look at one by one [n, w] → [c], in order."""
    size = np.einsum("ij,ij->j", rows, rows, dtype=np.float64)
    return np.sort(np.argsort(-size, kind="stable")[:COORDINATES])


def by_direction(rows: Array, classes: int) -> NDArray[np.int64]:
    """Rows that point the same way [n, w] → [n] cluster from 0 to `classes` − 1.

    Spherical k-means from the rows that are farthest apart; nothing in it is random.
    """
    unit = rows.astype(np.float64) / np.maximum(by_norm(rows), _TINY)[:, None]
    centres = _spread(unit, classes)
    found = np.zeros(len(unit), np.int64)
    for _ in range(50):
        nearest = np.argmax(unit @ centres.T, axis=1)
        if np.array_equal(nearest, found):
            break
        found = nearest
        for index in range(classes):
            total = unit[found == index].sum(axis=0)
            size = np.linalg.norm(total)
            if size > 0:
                centres[index] = total / size
    return found


def by_smallest(rows: Array) -> NDArray[np.int64]:
    """The smallest column of each row: in p − onehot(y) the one that is negative [n, k] → [n]."""
    smallest: NDArray[np.int64] = np.argmin(rows, axis=1).astype(np.int64)
    return smallest


def recover(
    received: Array | Mapping[str, Array], classes: int = 2, known: Array | None = None
) -> list[Guess]:
    """Every guess at the labels of a batch that its gradients allow without knowing any label.

    Args:
        received: the joint row that a party received in a step [n, w], or what came by edge [n, …].
        classes: how many there are; 2 for `bce`, and for `mse`, whose `values` are the guess.
        known: what the party sent of the same rows itself [n, m], where that is to be used.

    Returns:
        A guess for every way to look: at all edges together, and at each alone.
    """
    guesses: list[Guess] = []
    for name, rows in _parts(received):
        if classes == 2:
            guesses += _two(name, rows)
            if known is not None:
                guesses += [_cut("factor", name, column) for column in by_factor(rows, known).T]
        else:
            guesses.append(_many("direction", name, by_direction(rows, classes)))
            if rows.shape[1] == classes:
                guesses.append(_many("smallest", name, by_smallest(rows)))
                guesses.append(_many("largest", name, by_smallest(-rows)))
    return guesses


def agrees(guess: Guess, labels: Array, zeros: bool = False) -> bool:
    """Whether the guess is right for every row of `labels` [n] or [n, 1], up to the names of classes.

    With `zeros`, rows whose value is exactly 0 are no guess and do not count, as long as there are others.
    """
    truth = np.asarray(labels).reshape(-1)
    said = guess.values != 0 if zeros and np.any(guess.values != 0) else np.ones(len(truth), bool)
    pairs = set(zip(guess.labels[said].tolist(), truth[said].tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def proportional(guess: Guess, truth: Array, tolerance: float = 1e-3) -> bool:
    """Whether the guess's values are the truth [n] up to one factor, by the norm of the difference."""
    a, b = guess.values.astype(np.float64), np.asarray(truth, np.float64).reshape(-1)
    size = float(a @ a)
    if not size:
        return False
    return bool(np.linalg.norm(a * (float(a @ b) / size) - b) <= tolerance * np.linalg.norm(b))


def principal(rows: Array) -> Array:
    """The right singular vector of the largest singular value [n, w] → [w], by the smaller Gram matrix.

    Its sign makes the largest entry positive, so that equal rows give equal vectors.
    """
    wide = rows.astype(np.float64)
    n, w = wide.shape
    if w <= n:
        vector: Array = np.linalg.eigh(wide.T @ wide)[1][:, -1]
    else:
        vector = wide.T @ np.linalg.eigh(wide @ wide.T)[1][:, -1]
        vector = vector / max(float(np.linalg.norm(vector)), _TINY)
    return vector if vector[np.argmax(np.abs(vector))] >= 0 else -vector


def flat(tensor: Array) -> Array:
    """A tensor with a value for each row as [n, w]."""
    return tensor.reshape(len(tensor), -1)


def _parts(received: Array | Mapping[str, Array]) -> list[tuple[str, Array]]:
    if not isinstance(received, Mapping):
        return [("joint", flat(received))]
    alone = [(name, flat(tensor)) for name, tensor in received.items()]
    if len(alone) < 2:
        return alone
    return [("joint", np.concatenate([rows for _, rows in alone], axis=1)), *alone]


def _two(name: str, rows: Array) -> Iterator[Guess]:
    yield _cut("projection", name, by_projection(rows))
    yield _cut("consensus", name, by_consensus(rows))
    if name != "joint" or rows.shape[1] <= COORDINATES:
        for column in largest(rows):
            yield _cut(f"column {column}", name, rows[:, column])


def _cut(how: str, name: str, values: Array) -> Guess:
    return Guess(f"{how} of {name}", np.sign(values).astype(np.int64), values)


def _many(how: str, name: str, labels: NDArray[np.int64]) -> Guess:
    return Guess(f"{how} of {name}", labels, labels.astype(np.float64))


def _spread(unit: Array, count: int) -> Array:
    """Rows that lie far from each other: first the one nearest the mean direction, then the farthest."""
    chosen = [int(np.argmax(unit @ unit.sum(axis=0)))]
    nearest = unit @ unit[chosen[0]]
    while len(chosen) < count:
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, unit @ unit[chosen[-1]])
    return unit[chosen].copy()
