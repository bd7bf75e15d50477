"""Weights that lie in slices at several places, under the names that users know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import Plan, Weight
from vflc_runtime.bundle.reading import damaged


def joined(plans: Iterable[Plan], weights: Mapping[str, Array]) -> dict[str, Array]:
    """Weights as users know them: slices one after another, where all of a weight's are there.

    Args:
        plans: of the places whose weights they are.
        weights: by the names of the plans, each of its own shape; slices lie along its first axis, [rows, …].
    """
    found, slices = dict(weights), _slices(plans)
    for name, parts in slices.items():
        if all(part.name in weights for part in parts) and _complete(parts):
            found[name] = np.concatenate([found.pop(part.name) for part in parts])
    return found


def cut(plan: Plan, weights: Mapping[str, Array]) -> dict[str, Array]:
    """Of weights as users know them, [rows, …], what a place holds: its slices of those it has a part of."""
    found = {}
    for name, weight in plan.weights.items():
        if weight.whole in weights:
            part, whole = weight.slice, weights[weight.whole]
            found[name] = whole if part is None else whole[part.start : part.start + weight.shape[0]]
    return found


def check_slices(plans: Iterable[Plan]) -> None:
    """VFL0613 where slices do not make up the weight that they are of, or not one weight."""
    plans = list(plans)
    names = {weight.name for plan in plans for weight in plan.weights.values() if weight.slice is None}
    for name, parts in _slices(plans).items():
        first = parts[0]
        alike = all(
            part.slice is not None
            and part.slice.rows == (first.slice and first.slice.rows)
            and (part.shape[1:], part.init, part.trainable) == (first.shape[1:], first.init, first.trainable)
            for part in parts
        )
        if name in names or not alike or not _complete(parts):
            raise damaged(f"the slices of weight {name!r} do not make it up")


def _slices(plans: Iterable[Plan]) -> dict[str, list[Weight]]:
    """Slices by the weight that they are of, in their order."""
    found: dict[str, list[Weight]] = defaultdict(list)
    for plan in plans:
        for weight in plan.weights.values():
            if weight.slice is not None:
                found[weight.slice.of].append(weight)
    for parts in found.values():
        parts.sort(key=lambda part: part.slice.start if part.slice else 0)
    return found


def _complete(parts: list[Weight]) -> bool:
    row = 0
    for part in parts:
        if part.slice is None or part.slice.start != row or not part.shape:
            return False
        row += part.shape[0]
    return parts[0].slice is not None and row == parts[0].slice.rows
