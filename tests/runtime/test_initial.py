"""Initial weights and random values are pinned: a change would part runs that must agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from vflc_runtime.bundle.plan import Initializer, Slice, Weight
from vflc_runtime.engines import initial
from vflc_runtime.engines.initial import first_value, generator, glorot_scale, initial_value, orthogonal
from vflc_runtime.engines.randoms import uniform

PINNED_UNIFORM = [[0.0014607633342049954, 0.012544019158817078], [-0.04420176717693217, 0.014656367816292759]]
PINNED_NORMAL = [1.2931262347972075, 0.618845188030591, -0.6982798920802512]
PINNED_ORTHOGONAL = [[0.8109423411276834, 0.38808876664375336], [0.4262907793043301, -0.904504275135344]]
PINNED_RANDOM = [[0.3337720036506653, 0.6589811444282532], [0.36421263217926025, 0.45898520946502686]]


def test_pinned_values() -> None:
    drawn = initial_value(0, "b.e.MovieID", (2, 2), Initializer("uniform", 0.05), "float64")
    np.testing.assert_array_equal(drawn, PINNED_UNIFORM)
    normal = initial_value(1, "w", (3,), Initializer("normal", 1.0), "float64")
    np.testing.assert_array_equal(normal, PINNED_NORMAL)
    rows = initial_value(1, "w", (2, 3), Initializer("orthogonal", 0.0), "float64")
    np.testing.assert_allclose(rows[:, :2], PINNED_ORTHOGONAL, rtol=1e-12)
    np.testing.assert_array_equal(uniform(5, "a.dropout", 3, (2, 2), "float32"), np.array(PINNED_RANDOM, "f"))


@pytest.mark.parametrize("kind", ["uniform", "normal", "glorot_uniform", "orthogonal"])
def test_names_seeds_and_nothing_else_matter(kind: str) -> None:
    init = Initializer(kind, 0.1)
    first = initial_value(3, "a", (4, 5), init, "float64")
    np.testing.assert_array_equal(first, initial_value(3, "a", (4, 5), init, "float64"))
    np.testing.assert_array_equal(first.astype("float32"), initial_value(3, "a", (4, 5), init, "float32"))
    assert not np.array_equal(first, initial_value(4, "a", (4, 5), init, "float64"))
    assert not np.array_equal(first, initial_value(3, "b", (4, 5), init, "float64"))


@pytest.mark.parametrize("kind", ["uniform", "normal", "glorot_uniform", "orthogonal", "constant"])
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_values_are_drawn_in_blocks_and_in_slices(kind: str, block: int, monkeypatch: Any) -> None:
    """Of whatever size, they are the same; drawn at once in the way that is pinned."""
    init, draw = Initializer(kind, 0.1), generator(3, "a")
    scale = glorot_scale((9, 5)) if kind == "glorot_uniform" else 0.1
    expected = {
        "normal": lambda: draw.standard_normal((9, 5)) * 0.1,
        "orthogonal": lambda: orthogonal(draw.standard_normal((9, 5))),
        "constant": lambda: np.full((9, 5), 0.1),
    }.get(kind, lambda: (2.0 * draw.random((9, 5)) - 1.0) * scale)()
    monkeypatch.setattr(initial, "BLOCK_NUMBERS", block)
    whole = initial_value(3, "a", (9, 5), init, "float32")
    np.testing.assert_array_equal(whole, expected.astype("float32"))
    part = Weight("b", (3, 5), init, True, "b", 0, slice=Slice("a", 9, 4))
    np.testing.assert_array_equal(first_value(3, part, "float32"), whole[4:7])


@pytest.mark.parametrize(("kind", "value"), [("zeros", 0.0), ("ones", 1.0), ("constant", 0.3)])
def test_constants(kind: str, value: float) -> None:
    np.testing.assert_array_equal(
        initial_value(0, "x", (2, 3), Initializer(kind, 0.3), "float64"), np.full((2, 3), value)
    )


@pytest.mark.parametrize("shape", [(4, 12), (12, 4), (1, 3), (5, 5)])
def test_orthogonal_rows_or_columns(shape: tuple[int, int]) -> None:
    drawn = initial_value(0, "x", shape, Initializer("orthogonal", 0.0), "float64")
    few = drawn if shape[0] <= shape[1] else drawn.T
    np.testing.assert_allclose(few @ few.T, np.eye(min(shape)), atol=1e-14)


def test_a_memory_starts_by_keeping_what_it_has() -> None:
    drawn = initial_value(0, "x", (8,), Initializer("unit_forget", 0.0), "float32")
    np.testing.assert_array_equal(drawn, np.array([0, 0, 1, 1, 0, 0, 0, 0], "f"))


def test_distributions() -> None:
    drawn = initial_value(0, "x", (400, 100), Initializer("uniform", 0.05), "float64")
    assert drawn.min() >= -0.05
    assert drawn.max() <= 0.05
    assert abs(drawn.mean()) < 0.001
    normal = initial_value(0, "x", (400, 100), Initializer("normal", 2.0), "float64")
    assert abs(normal.std() - 2.0) < 0.05


@pytest.mark.parametrize(
    ("shape", "fans"), [((3, 5), 8), ((7,), 14), ((), 2), ((4, 3, 5), 32), ((2, 4, 3, 5), 64)]
)
def test_glorot_counts_fans_as_keras(shape: tuple[int, ...], fans: int) -> None:
    assert glorot_scale(shape) == math.sqrt(6 / fans)


def test_random_values_are_the_same_in_both_precisions() -> None:
    single, double = (uniform(1, "r", 2, (500, 3), precision) for precision in ("float32", "float64"))
    np.testing.assert_array_equal(single.astype("float64"), double)
    assert single.dtype == np.float32
    assert 0 <= single.min() < 0.01 < 0.99 < single.max() < 1
    assert not np.array_equal(single, uniform(1, "r", 3, (500, 3), "float32"))
