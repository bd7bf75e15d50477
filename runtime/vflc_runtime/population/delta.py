"""What users changed: initial minus final, clipped, weighted and summed up for the hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.engines.population_rows import sum_rows
from vflc_runtime.population.copies import ranked
from vflc_runtime.population.steps import State
from vflc_runtime.population.users import Rows

Array = NDArray[Any]


@dataclass
class Delta:
    """The weighted sum of the changes of a group's users: initial minus final.

    Attributes:
        dense: by name of the weight.
        rows: of a table (ids, sums), ids ascending.
        weight: sum of the users' weights.
    """

    dense: dict[str, Array]
    rows: dict[str, tuple[Rows, Array]]
    weight: float


def delta_of(state: State, first: Mapping[str, Array]) -> tuple[Delta, NDArray[np.bool_]]:
    """The weighted sum of changes, and whose changes were finite; those that were not are left out.

    Args:
        state: the group after its visit.
        first: the weights before, which are overwritten.
    """
    plan, settings, group = state.plan, state.settings, state.group
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is dropped below
        changes = {name: np.subtract(was, state.values[name], out=was) for name, was in first.items()}
    finite = _finite(state, changes)
    examples = group.update.examples if settings.weighting == "examples" else 1
    weight = np.where(state.whole & finite, examples, 0)
    scale = weight.astype(np.float64)
    if settings.clip_norm is not None:
        norms = np.sqrt(_squares(state, changes, finite))
        scale *= np.minimum(1.0, settings.clip_norm / np.maximum(norms, 1e-300))
    dense, rows = {}, {}
    for name, change in changes.items():
        if plan.weights[name].table:
            copies = state.copies[name]
            weighted = _times(change[1:], scale[copies.owner])
            ids, places = ranked(copies.ids, plan.weights[name].shape[0])
            rows[name] = ids, sum_rows(places, weighted, len(ids))
        else:
            dense[name] = _times(change, scale).sum(axis=0)
    return Delta(dense, rows, float(weight.sum())), finite


def _finite(state: State, changes: Mapping[str, Array]) -> NDArray[np.bool_]:
    """Whose changes are finite in every number."""
    if all(np.isfinite(change).all() for change in changes.values()):
        return np.ones(len(state.group.users), np.bool_)
    return np.equal(_by_user(state, changes, lambda numbers: ~np.isfinite(numbers)), 0.0)


def _squares(state: State, changes: Mapping[str, Array], finite: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The squared norm of each user's change; 0 where it is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = _by_user(state, changes, lambda numbers: numbers.astype(np.float64) ** 2)
    squares[~finite] = 0.0
    return squares


def _by_user(state: State, changes: Mapping[str, Array], of: Callable[[Array], Array]) -> NDArray[np.float64]:
    """The sum over each user's change of a function of its numbers."""
    users = len(state.group.users)
    total: NDArray[np.float64] = np.zeros(users)
    for name, change in changes.items():
        table = state.plan.weights[name].table
        each = of(change[1:] if table else change.reshape(users, -1)).sum(axis=1)
        total += np.bincount(state.copies[name].owner, each, minlength=users) if table else each
    return total


def _times(change: Array, factor: NDArray[np.float64]) -> Array:
    """The product in place, and 0 where the factor is, whatever the change."""
    change[factor == 0] = 0
    change *= factor.reshape(-1, *(1 for _ in change.shape[1:])).astype(change.dtype)
    return change
