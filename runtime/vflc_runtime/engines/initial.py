"""A weight's first value, from the seed and the weight's name alone.

No engine, no split and no order of creation can change it: Philox (Salmon et al., "Parallel
random numbers: as easy as 1, 2, 3", 2011) is keyed by SHA-256 of seed and name.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.bundle.plan import Initializer, Weight


def generator(*key: object) -> np.random.Generator:
    """Random numbers that depend on `key` only."""
    hashed = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(hashed[:16], "<u8")))


BLOCK_NUMBERS = 1 << 20
"""Numbers that are drawn at once, in float64."""
MOST_NUMBERS = 1 << 38
"""Of a weight: for more nobody would wait, and a slice may claim to be of a weight of any size."""


def first_value(seed: int | str, weight: Weight, dtype: str) -> NDArray[Any]:
    """The first value of a weight, [rows, …], drawn or from a file; a slice has its rows of the whole's."""
    value: NDArray[Any] = np.empty(weight.shape, dtype)
    set_first_value(value, seed, weight)
    return value


def set_first_value(value: NDArray[Any], seed: int | str, weight: Weight) -> None:
    """Sets `value` [rows, …], which lies in one piece, to the first value of a weight: `first_value`."""
    if weight.given is not None:
        value[...] = weight.given
        return
    rows, part = weight.shape, weight.slice
    name, shape = (weight.name, rows) if part is None else (part.of, (part.rows, *rows[1:]))
    if math.prod(shape) > MOST_NUMBERS:
        raise MemoryError
    first = 0 if part is None else part.start * math.prod(rows[1:])
    _set(value.reshape(-1), seed, name, shape, weight.init, first)


def initial_value(
    seed: int | str, name: str, shape: tuple[int, ...], init: Initializer, dtype: str
) -> NDArray[Any]:
    """The first value of weight `name`, [*shape]; drawn in float64, then cast to `dtype`."""
    value: NDArray[Any] = np.empty(shape, dtype)
    _set(value.reshape(-1), seed, name, shape, init, 0)
    return value


def _set(
    flat: NDArray[Any], seed: int | str, name: str, shape: tuple[int, ...], init: Initializer, first: int
) -> None:
    """Sets `flat` [size] to that part of the value of shape [*shape] that begins at number `first`."""
    end = first + flat.size
    if init.kind in ("zeros", "ones", "constant"):
        flat.fill({"zeros": 0.0, "ones": 1.0, "constant": init.scale}[init.kind])
    elif init.kind == "unit_forget":  # of four gates, the second starts open (Jozefowicz et al. 2015)
        flat[...] = np.repeat([0.0, 1.0, 0.0, 0.0], shape[0] // 4)[first:end]
    elif init.kind == "orthogonal":
        flat[...] = orthogonal(generator(seed, name).standard_normal(shape)).reshape(-1)[first:end]
    else:
        for start, numbers in _drawn(generator(seed, name), init, shape, end):
            own = numbers[max(first - start, 0) :]
            at = max(start, first) - first
            flat[at : at + own.size] = own


def _drawn(
    draw: np.random.Generator, init: Initializer, shape: tuple[int, ...], end: int
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """The first `end` numbers of a value of shape [*shape], by the place where each block of them begins."""
    scale = glorot_scale(shape) if init.kind == "glorot_uniform" else init.scale
    for start in range(0, end, BLOCK_NUMBERS):
        count = min(BLOCK_NUMBERS, end - start)
        if init.kind == "normal":
            numbers = draw.standard_normal(count)
        else:
            numbers = draw.random(count)
            numbers *= 2.0
            numbers -= 1.0
        numbers *= scale
        yield start, numbers


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
