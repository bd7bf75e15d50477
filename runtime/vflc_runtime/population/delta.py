"""What users changed: initial minus final, clipped and weighted, as it leaves them; and the sum of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices
from vflc_kernels.users import user_kernels

from vflc_runtime.finite import finite
from vflc_runtime.population.steps import GroupState


@dataclass
class Delta:
    """The weighted sum of the changes of a group's users: initial minus final.

    Attributes:
        dense: by name of the weight.
        rows: of a table (ids, sums), ids ascending.
        weight: sum of the users' weights.
    """

    dense: dict[str, Array]
    rows: dict[str, tuple[Indices, Array]]
    weight: float


@dataclass
class Changes:
    """What each user of a group sends back; nothing but zeros of those who count for nothing.

    Attributes:
        values: clipped and weighted changes by name: [user, …], of a table the rows [rows, k] that its
            users asked for, user after user.
        weights: how much each user counts, [user].
        finite: whose changes were finite before that, [user].
    """

    values: dict[str, Array]
    weights: NDArray[np.int32]
    finite: NDArray[np.bool_]


def changes_of(state: GroupState, first: Mapping[str, Array]) -> Changes:
    """The changes of a group after its client update; they take the place of its global weights.

    Args:
        state: the group.
        first: the global weights that its users got, as `Changes.values`: [user, …], of tables [rows, k].
    """
    settings, group = state.settings, state.group
    changes = {name: state.rows_of(name) for name in first}
    known = [_lost(first[name], change) for name, change in changes.items()]
    whole = np.ones(len(group.users), np.bool_) if all(known) else _finite(state, changes)
    examples = group.update.examples if settings.weighting == "examples" else 1
    weight = np.where(state.whole & whole, examples, 0)
    scale = weight.astype(np.float64)
    if settings.clip_norm is not None:
        norms = np.sqrt(_squares(state, changes, whole))
        scale *= shrinking(norms, settings.clip_norm, state.plan.precision)
    for name, change in changes.items():
        copies = state.copies.get(name)
        factors = scale if copies is None else scale.take(copies.owner)
        _scale(change, factors.astype(change.dtype))
    return Changes(changes, weight.astype(np.int32), whole)


def _lost(first: Array, change: Array) -> bool:
    """Makes a contiguous `change`, what numbers became, what they lost; whether all of it is finite."""
    kernels = user_kernels()
    if kernels is not None:
        return kernels.lost(np.ascontiguousarray(first, change.dtype), change)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is dropped
        np.subtract(first, change, out=change)
    return finite(change)


def _finite(state: GroupState, changes: Mapping[str, Array]) -> NDArray[np.bool_]:
    """Whose changes are finite in every number."""
    return np.equal(_by_user(state, changes, lambda numbers: ~np.isfinite(numbers)), 0.0)


def _squares(
    state: GroupState, changes: Mapping[str, Array], whole: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The squared norm of each user's change; 0 where it is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = _by_user(state, changes, lambda numbers: numbers.astype(np.float64) ** 2)
    squares[~whole] = 0.0
    return squares


def shrinking(norms: NDArray[np.float64], most: float, precision: str) -> NDArray[np.float64]:
    """What scales changes of these norms [user] down to `most`; rounding in `precision` puts none above it.

    A factor below the normal numbers would be rounded by more than that allows for, and is 0.
    """
    kind = np.finfo(precision)
    found = np.minimum(1.0, most * (1 - 4 * float(kind.eps)) / np.maximum(norms, 1e-300))
    return np.where(found < float(kind.tiny), 0.0, found)


def _by_user(
    state: GroupState, changes: Mapping[str, Array], of: Callable[[Array], Array]
) -> NDArray[np.float64]:
    """The sum over each user's change of a function of its numbers."""
    users = len(state.group.users)
    total: NDArray[np.float64] = np.zeros(users)
    for name, change in changes.items():
        copies = state.copies.get(name)
        each = of(change.reshape(users, -1) if copies is None else change).sum(axis=1)
        total += each if copies is None else np.bincount(copies.owner, each, minlength=users)
    return total


def _scale(change: Array, factors: Array) -> None:
    """Multiplies a contiguous change in place, and leaves 0 where the factor is, whatever the change."""
    kernels = user_kernels()
    if kernels is not None:
        kernels.scale(change, factors)
        return
    change[factors == 0] = 0
    with np.errstate(over="ignore"):  # what leaves is looked at
        change *= factors.reshape(-1, *(1 for _ in change.shape[1:]))
