"""A weight's first value, from the seed and the weight's name alone.

No engine, no split and no order of creation can change it: Philox (Salmon et al., "Parallel
random numbers: as easy as 1, 2, 3", 2011) is keyed by SHA-256 of seed and name.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.bundle.plan import Initializer, Weight


def generator(*key: object) -> np.random.Generator:
    """Random numbers that depend on `key` only."""
    hashed = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(hashed[:16], "<u8")))


def first_value(seed: int | str, weight: Weight, dtype: str) -> NDArray[Any]:
    """The first value of a weight, [rows, …], drawn or from a file; a slice has its rows of the whole's."""
    if weight.given is not None:
        return weight.given.astype(dtype)
    part = weight.slice
    if part is None:
        return initial_value(seed, weight.name, weight.shape, weight.init, dtype)
    rows, *others = weight.shape
    whole = initial_value(seed, part.of, (part.rows, *others), weight.init, dtype)
    return whole[part.start : part.start + rows]


def initial_value(
    seed: int | str, name: str, shape: tuple[int, ...], init: Initializer, dtype: str
) -> NDArray[Any]:
    """The first value of weight `name`, [*shape]; drawn in float64, then cast to `dtype`."""
    if init.kind in ("zeros", "ones", "constant"):
        value = {"zeros": 0.0, "ones": 1.0, "constant": init.scale}[init.kind]
        return np.full(shape, value, dtype)
    if init.kind == "unit_forget":  # of four gates, the second starts open (Jozefowicz et al. 2015)
        return np.repeat([0.0, 1.0, 0.0, 0.0], shape[0] // 4).astype(dtype)
    draw = generator(seed, name)
    if init.kind == "normal":
        return (draw.standard_normal(shape) * init.scale).astype(dtype)
    if init.kind == "orthogonal":
        return orthogonal(draw.standard_normal(shape)).astype(dtype)
    scale = glorot_scale(shape) if init.kind == "glorot_uniform" else init.scale
    return ((2.0 * draw.random(shape) - 1.0) * scale).astype(dtype)


def glorot_scale(shape: tuple[int, ...]) -> float:
    """The bound of Glorot and Bengio's uniform initialisation (2010), fans as Keras counts them:
    the last two axes, times the product of the axes before them."""
    if not shape:
        fan_in = fan_out = 1
    elif len(shape) == 1:
        fan_in = fan_out = shape[0]
    else:
        field = math.prod(shape[:-2])
        fan_in, fan_out = shape[-2] * field, shape[-1] * field
    return math.sqrt(6.0 / (fan_in + fan_out))


def orthogonal(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of normal numbers [.., m, n], rows or columns, whichever are fewer, at right angles and of length 1.

    By Gram and Schmidt, twice, which is exact to rounding, and without LAPACK, which rounds by its threads.
    """
    flip = drawn.shape[-2] > drawn.shape[-1]
    rows = np.array(np.swapaxes(drawn, -1, -2) if flip else drawn)
    for i in range(rows.shape[-2]):
        row, known = rows[..., i, :], rows[..., :i, :]
        for _ in range(2):
            shares = (known * row[..., None, :]).sum(-1, keepdims=True)
            row -= (shares * known).sum(-2)
        row /= np.sqrt((row * row).sum(-1, keepdims=True))
    return np.swapaxes(rows, -1, -2) if flip else rows
