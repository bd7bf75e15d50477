"""Rows that lie at a non-smooth point, which no two ways of rounding treat alike.

The gradient of ReLU jumps from 0 to 1 where its input is 0. Two ways of training whose inputs
differ in the last bit of a float32 then compute gradients that differ by as much as the row
contributes, and both are right. Of ten million activations in a hundred steps a few are as near as
that. What can be compared are rows whose gradients are certain: such a row gives way to another,
before any way has trained on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices

from vflc_runtime.engines.initial import generator
from vflc_runtime.engines.randoms import uniform

MARGIN = 1e-5
"""How near is near, of the largest magnitude: a hundred times float32's rounding."""
TRIES = 20


@dataclass(frozen=True, slots=True)
class OutsideInput:
    """A value that a file of another tool gives.

    Args:
        name: of the value.
        model: an ONNX graph from `fed` to those of the `inputs` that are not fed; None where all are.
        content: the file.
        output: the number of the output that is the value.
    """

    name: str
    model: bytes | None
    fed: tuple[str, ...]
    inputs: tuple[str, ...]
    content: bytes
    output: int


@dataclass(frozen=True, slots=True)
class NonSmoothPoints:
    """Where the gradients of a model jump.

    Args:
        model: an ONNX graph of everything that comparisons in the gradients compare.
        weights: its inputs that are weights, by the name users know.
        randoms: its inputs that are random numbers, with their shapes; None is the batch.
        inputs: its inputs that are read from tables.
        outside: its inputs that files of other tools give, each after those that it needs.
        pairs: names of two outputs whose order decides; the second may be a number.
    """

    model: bytes
    weights: tuple[str, ...]
    randoms: Mapping[str, tuple[int | None, ...]]
    inputs: tuple[str, ...]
    outside: tuple[OutsideInput, ...]
    pairs: tuple[tuple[str, str | float], ...]


class Chooser:
    """Exchanges rows near a non-smooth point for others.

    Args:
        batch: gives the inputs [rows, …] of rows.
        rows: how many rows there are.
    """

    def __init__(
        self,
        non_smooth: NonSmoothPoints,
        batch: Callable[[Indices], Mapping[str, Array]],
        rows: int,
        seed: int,
    ) -> None:
        from vflc_runtime.engines.onnx_session import session
        from vflc_runtime.engines.outside import OutsideFile

        self._non_smooth, self._batch, self._rows, self._seed = non_smooth, batch, rows, seed
        self._session = session(non_smooth.model, 1)
        self._outside = [
            (each, each.model and session(each.model, 1), OutsideFile(each.content, each.name, 1))
            for each in non_smooth.outside
        ]

    def __call__(self, rows: Indices, step: int, weights: Mapping[str, Array]) -> Indices:
        """The rows [batch] of a batch, those near a non-smooth point exchanged as far as some tries can.

        Args:
            rows: of the data, [batch].
            step: counted from 1; seeds what is drawn.
            weights: by name, [rows, …], as they are before the step.
        """
        draw = generator(self._seed, "rows without a non-smooth point", step)
        best, fewest = rows, len(rows) + 1
        for _ in range(TRIES):
            near = self._near(rows, step, weights)
            if near.sum() < fewest:
                best, fewest = rows, int(near.sum())
            if not fewest:
                break
            rows = np.where(near, draw.integers(0, self._rows, len(rows)), rows)
        return best

    def _near(self, rows: Indices, step: int, weights: Mapping[str, Array]) -> NDArray[np.bool_]:
        non_smooth, inputs = self._non_smooth, self._batch(rows)
        given = {name: weights[name] for name in non_smooth.weights}
        given |= {name: inputs[name] for name in non_smooth.inputs}
        for name, shape in non_smooth.randoms.items():
            sizes = tuple(len(rows) if size is None else size for size in shape)
            given[name] = uniform(self._seed, name, step, sizes, "float32")
        given = {name: np.ascontiguousarray(array) for name, array in given.items()}
        for outside, before, file in self._outside:
            read = given | _made(before, {name: given[name] for name in outside.fed}) if before else given
            value = file.run([read[name] for name in outside.inputs], outside.output, len(rows))
            given[outside.name] = value.astype(np.float32)
        names = {meta.name for meta in self._session.inputs_meta}
        found = _made(self._session, {name: given[name] for name in names})
        near = np.zeros(len(rows), bool)
        for first, second in non_smooth.pairs:
            near |= undecided(found[first], found[second] if isinstance(second, str) else second)
        return near


def _made(session: Any, given: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of a graph by name."""
    from vflc_runtime.engines.onnx_session import ort_value

    names = [output.name for output in session.outputs_meta]
    made = session.run_with_ort_values({name: ort_value(array) for name, array in given.items()}, names, None)
    return {name: made[index].numpy() for index, name in enumerate(names)}


def undecided(a: Array, b: Array | float) -> NDArray[np.bool_]:
    """Rows where a and b [batch, …] nearly meet; where they are equal, they are so by construction."""
    gap = np.abs(a - b)
    scale = max(float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)))
    near = (gap > 0) & (gap < MARGIN * scale)
    return np.asarray(near.reshape(len(gap), -1).any(axis=1))
