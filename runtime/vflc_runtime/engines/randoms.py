"""Uniform numbers for dropout and the like, from (seed, id, step) alone: no state to save."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.engines.initial import generator


def uniform(seed: int, name: str, step: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Numbers from 0 to below 1, [*shape], that float32 holds exactly: both precisions draw the same."""
    return generator(seed, name, step).random(shape, dtype=np.float32).astype(dtype, copy=False)
