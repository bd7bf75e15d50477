"""What the encoders of labels were fitted to, as weights: so predictions come in the units of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vflc_runtime.engines.engine import Engine
from vflc_runtime.errors import Failure

FittedColumn = Sequence[Mapping[str, float] | None]
"""What the encoders of one column were fitted to, as a data set has it."""


def begin(engines: Mapping[str, Engine], fitted: Mapping[str, FittedColumn]) -> None:
    """Sets the weights that are not trained but fitted.

    Raises:
        Failure: VFL0613 where nothing was fitted that a weight is to hold.
    """
    for engine in engines.values():
        wanted = {weight.name: weight.fitted for weight in engine.plan.weights.values() if weight.fitted}
        if not wanted:
            continue
        weights = {name: np.array(value) for name, value in engine.weights().items()}
        for name, what in wanted.items():
            try:
                parameters = fitted[what.input][what.encoder]
                assert parameters is not None
                weights[name][...] = parameters[what.parameter]
            except (KeyError, IndexError, AssertionError):
                raise Failure(
                    "VFL0613",
                    f"{name} should contain what {what.input} was fitted to, but nothing was fitted",
                    "compile the spec again: `vflc compile SPEC -o DIR`",
                ) from None
        engine.load(weights)
