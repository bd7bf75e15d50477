"""Dense layers and their gradients, one operator each, for every kind of processor that this one can be."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operators import Array, run_operator
from vflc_kernels import library, products

pytestmark = pytest.mark.skipif(library() is None, reason="the extension is not built")
KINDS = ["generic", "avx2", "avx512"]
SLOW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    chosen: str = request.param
    monkeypatch.setenv("VFLC_KERNELS", chosen)
    if products(False) != chosen:
        pytest.skip(f"this processor has no {chosen}")
    return chosen


def forward(
    x: Array, w: Array, b: Array | None, relu: bool, threads: int = 1, bfloat16: bool = False
) -> Array:
    given = [x, w] if b is None else [x, w, b]
    asked = {"relu": int(relu), "bfloat16": int(bfloat16)}
    return run_operator("Dense", given, 1, asked, threads)[0]


def backward(
    x: Array, dy: Array, y: Array | None, w: Array, threads: int = 1, bfloat16: bool = False
) -> list[Array]:
    """dw, dx, db."""
    given = [x, dy, w] if y is None else [x, dy, y, w]
    asked = {"masked": int(y is not None), "to_x": 1, "to_b": 1, "bfloat16": int(bfloat16)}
    return run_operator("DenseBackward", given, 3, asked, threads)


def due(x: Array, dy: Array, y: Array | None, w: Array) -> list[Array]:
    """The same in numpy, in the precision of what is given."""
    g = dy if y is None else np.where(y > 0, dy, 0)
    return [x.T @ g, g @ w.T, g.sum(0)]


def drawn(rows: int, inner: int, columns: int, seed: int = 0) -> tuple[Array, Array, Array, Array]:
    """x, w, b, dy."""
    rng = np.random.default_rng(seed)
    shapes = (rows, inner), (inner, columns), (columns,), (rows, columns)
    x, w, b, dy = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return x, w, b, dy


def near(made: Array, wanted: Array, size: float) -> None:
    """To the rounding of sums whose terms are normal: as they cancel, `size` terms say more than the sum."""
    assert made.shape == wanted.shape and made.dtype == np.float32
    np.testing.assert_allclose(made, wanted, rtol=1e-6, atol=1e-6 * (size + 8))


sizes = st.integers(0, 70) | st.sampled_from([127, 300, 1025])


@pytest.mark.parametrize("kind", KINDS, indirect=True)
@SLOW
@given(
    rows=sizes,
    inner=sizes,
    columns=sizes.map(lambda size: size // 2 + 1),
    relu=st.booleans(),
    bias=st.booleans(),
)
def test_as_numpy(kind: str, rows: int, inner: int, columns: int, relu: bool, bias: bool) -> None:
    x, w, b, dy = drawn(rows, inner, columns)
    y = forward(x, w, b if bias else None, relu)
    wanted = x.astype(float) @ w + (b if bias else 0)
    near(y, np.maximum(wanted, 0) if relu else wanted, inner)
    masked = y if relu else None
    made = backward(x, dy, masked, w)
    wanted_of = due(x.astype(float), dy.astype(float), masked, w.astype(float))
    for each, right, size in zip(made, wanted_of, (rows, columns, rows), strict=True):
        near(each, right, size)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_bits_are_those_of_one_thread_and_of_any_rows(bfloat16: bool) -> None:
    x, w, b, dy = drawn(1500, 70, 90)
    y = forward(x, w, b, True, 1, bfloat16)
    gradients = backward(x, dy, y, w, 1, bfloat16)
    for threads in (2, 4):
        np.testing.assert_array_equal(forward(x, w, b, True, threads, bfloat16), y)
        for one, many in zip(gradients, backward(x, dy, y, w, threads, bfloat16), strict=True):
            np.testing.assert_array_equal(one, many)
    np.testing.assert_array_equal(forward(x[3:10], w, b, True, 1, bfloat16), y[3:10])


@pytest.mark.parametrize(("bfloat16", "block"), [(False, 256), (True, 512)])
def test_a_weight_s_gradient_is_that_of_one_block_of_rows_after_another(bfloat16: bool, block: int) -> None:
    """So the bits do not depend on whether rows are shared out in large pieces or in small ones."""
    if products(bfloat16) is None:
        pytest.skip("this processor multiplies no bfloat16: its blocks are those of float32")
    x, w, _, dy = drawn(1600, 33, 50)
    parts = [
        backward(x[start : start + block], dy[start : start + block], None, w, 1, bfloat16)
        for start in range(0, 1600, block)
    ]
    due = parts[0][0]
    for dw, _, _ in parts[1:]:
        due = due + dw
    dw, dx, _ = backward(x, dy, None, w, 2, bfloat16)
    np.testing.assert_array_equal(dw, due)
    np.testing.assert_array_equal(dx, np.concatenate([each[1] for each in parts]))


def test_both_kinds_of_avx_have_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    if products(False) != "avx512":
        pytest.skip("this processor has no AVX-512")
    x, w, b, dy = drawn(301, 270, 45)
    found: dict[str, list[Array]] = {}
    for kind in ("avx512", "avx2"):
        monkeypatch.setenv("VFLC_KERNELS", kind)
        y = forward(x, w, b, True)
        found[kind] = [y, *backward(x, dy, y, w)]
    for wide, narrow in zip(found["avx512"], found["avx2"], strict=True):
        np.testing.assert_array_equal(wide, narrow)


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_what_is_no_number_stays_so(kind: str) -> None:
    x, w, b, dy = drawn(40, 9, 7)
    x[3, 2], x[5, 1] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        wanted = np.maximum(x @ w + b, 0)
    y = forward(x, w, b, True)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(y), np.isinf(wanted))
    dy[8, 3], y[8, 3] = np.nan, 1
    _, dx, db = backward(np.nan_to_num(x, posinf=0), dy, y, w)
    assert np.isnan(dx[8]).all() and np.isnan(db[3]) and np.isfinite(np.delete(dx, 8, 0)).all()


@pytest.mark.skipif(products(True) is None, reason="this processor does not multiply bfloat16")
@pytest.mark.parametrize("sizes", [(1, 1, 2), (33, 31, 17), (300, 257, 64), (1030, 5, 33)])
def test_bfloat16_rounds_factors_and_nothing_else(sizes: tuple[int, int, int]) -> None:
    rows, inner, columns = sizes
    x, w, b, dy = drawn(*sizes)
    near(forward(x, w, b, False, bfloat16=True), rounded(x) @ rounded(w) + b, inner)
    y = forward(x, w, b, True, bfloat16=True)
    g = np.where(y > 0, dy, 0)
    dw, dx, db = backward(x, dy, y, w, bfloat16=True)
    near(dw, rounded(x).T @ rounded(g), rows)
    near(dx, rounded(g) @ rounded(w).T, columns)
    near(db, g.astype(float).sum(0), rows)


def rounded(array: Array) -> Array:
    """To bfloat16, to the nearest and of two the even one; as float64."""
    bits = array.view(np.uint32)
    return (
        ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(float)
    )


@pytest.mark.parametrize("given", ["x", "w", "b"])
def test_sizes_that_do_not_fit_are_refused(given: str) -> None:
    parts: dict[str, Any] = dict(zip("xwb", drawn(4, 3, 2), strict=False))
    parts[given] = np.zeros((5, 5) if given != "b" else 5, np.float32)
    with pytest.raises(Exception, match="do not fit"):
        forward(parts["x"], parts["w"], parts["b"], True)
