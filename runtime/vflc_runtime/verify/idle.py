"""Weights that the objective does not depend on, such as a bias before `batch_norm`.

The gradient of such a weight is a sum that cancels: 0, and in any precision the rounding of what it is
summed from. SGD moves the weight by lr times that, which no limit minds. An optimizer that divides a
gradient by its own running size, as Adam, RMSprop and Adagrad do, makes a whole step of it unless eps
is larger: up to lr·n in n steps, and two ways of rounding go two ways. So where such a weight has gone
says nothing of a way, and neither does what it drags along: running means that follow it, and what is
predicted by them.

What can be compared is its gradient. In float64 it is at most 1e-12 of the largest gradient of any weight
in every step: far above what rounding leaves there, some 1e-16 times the root of the terms, and far
below what float32 can tell from 0. Such weights are idle. In float32 they are held where they start,
in every way alike, and their gradients, in every way and step, may be at most the limit of float32,
1e-4, of the largest: a gradient that is wrong by more than that is found, as everywhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import DenseUpdate, Weight
from vflc_runtime.run.session import Session

NOTHING = 1e-12
"""What a gradient in float64 may be, of the largest of its step, to be that of an idle weight."""


class Shares:
    """By weight, the largest that its gradient was in any step, as a share of the step's largest: norms.

    Of dense weights; what tables have counts among the largest.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.largest: dict[str, float] = {}

    def add(self) -> None:
        """Looks at the gradients of the step just done."""
        norms: dict[str, float] = {}
        tables = [0.0]
        for engine in self._session.engines.values():
            for update in engine.plan.updates.values():
                if not isinstance(update, DenseUpdate):
                    tables += (_norm(engine.get(gradient)) for _, gradient in update.gradients)
                    continue
                arrays = [engine.plan.arrays[name] for name in update.arrays]
                ends = np.cumsum([array.size for array in arrays])
                parts = np.split(engine.get(update.gradient).reshape(-1), ends[:-1])
                for array, part in zip(arrays, parts, strict=True):
                    name = engine.plan.weights[array.name].whole
                    norms[name] = max(norms.get(name, 0.0), _norm(part))
        whole = max(*tables, *norms.values(), 0.0)
        for name, norm in norms.items():
            self.largest[name] = max(self.largest.get(name, 0.0), norm / whole if whole else 0.0)

    def idle(self) -> list[str]:
        """The weights whose gradients are rounding in float64, and not simply 0, which moves nothing."""
        return [name for name, share in self.largest.items() if 0 < share <= NOTHING]


def hold(session: Session, start: Mapping[str, Array], idle: Iterable[str]) -> None:
    """Puts idle weights back to `start`, [rows, …] by name; nothing else changes."""
    for engine in session.engines.values():
        own = {
            weight.name: _own(start[weight.whole], weight)
            for weight in engine.plan.weights.values()
            if weight.whole in idle
        }
        if own:
            weights = {**engine.weights(), **engine.stored(), **own}
            engine.load(weights, engine.slots(), session.steps)


def _own(whole: Array, weight: Weight) -> Array:
    """The rows of a weight that a place has."""
    first = weight.slice.start if weight.slice else 0
    return whole[first : first + weight.shape[0]] if weight.slice else whole


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array.astype(np.float64).reshape(-1)))
