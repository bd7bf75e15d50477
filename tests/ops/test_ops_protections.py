"""The ops of protections: bounds of their options, and what they make of rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ops.op_testing import build, evaluate, run_onnx, value

from vflc.ops import OpError
from vflc.ops.mechanisms import MECHANISMS
from vflc.ops.noise import check_noise
from vflc.ops.protection import Draw, clipped

OPTIONS = {
    ("gaussian", "clip"): ([1e-9, 1, 1e9], [0, -1, True, math.inf, "1"]),
    ("gaussian", "epsilon"): ([1e-9, 99.9], [0, 100]),
    ("gaussian", "delta"): ([1e-9, 0.999], [0, 1]),
    **{
        (name, "noise"): ([1e-9, 0.5, 1e9], [0, 0.99e-9, -1, math.inf, True, "1"])
        for name in ("gaussian", "dp_sgd")
    },
    ("gaussian", "limit"): ([1e-9, 1e9], [0, math.inf]),
    ("label_dp", "prior"): (
        [[0, 0.5, 0.5], [0.25, 0.75], [0.5, 0.5 + 0.9e-6]],
        [[0.5], [0.5, 0.5 + 1.1e-6], [0.5, 0.5 - 1.1e-6], [-0.5, 1.5], [1, True], "1", None, ["1"]],
    ),
    ("gaussian", "passes"): ([0, 2**20], [-1, 2**20 + 1, 1.5, True]),
    ("label_dp", "epsilon"): ([1e-9, 99.9], [0, 100]),
    ("marvell", "sum_kl"): ([1e-9, 1e9], [0, math.inf]),
    ("iso", "scale"): ([1e-9, 1e9], [0]),
    ("quantize", "bits"): ([2, 16], [1, 17, 2.0, True]),
    ("quantize", "per"): (["row", "batch"], ["table", 1]),
    ("top_k", "k"): ([1, 2**24], [0, 2**24 + 1]),
    ("secure_sum", "range"): ([1e-9, 2.0**40], [0, 2.0**41]),
}


@pytest.mark.parametrize(("mechanism", "option"), OPTIONS)
def test_both_sides_of_every_bound_of_a_protection(mechanism, option):
    check = MECHANISMS[mechanism].options[option].check
    inside, outside = OPTIONS[mechanism, option]
    assert [check(each) for each in inside] == [True] * len(inside)
    assert [check(each) for each in outside] == [False] * len(outside)


def test_noise_needs_a_size():
    for noise, epsilon in ((1.0, None), (None, 8), (1.0, 8)):
        check_noise("it")({"noise": noise, "epsilon": epsilon})
    with pytest.raises(OpError, match="it needs `epsilon` or `noise`") as refused:
        check_noise("it")({"noise": None, "epsilon": None})
    assert refused.value.code == "VFL0332"


def test_options_that_must_be_given():
    required = {
        name: [o for o, option in each.options.items() if option.required]
        for name, each in ((each.name, each) for each in MECHANISMS)
    }
    assert {name: options for name, options in required.items() if options} == {
        "gaussian": ["clip"], "dp_sgd": ["clip"], "label_dp": ["epsilon"], "marvell": ["sum_kl"],
        "iso": ["scale"], "quantize": ["bits"], "top_k": ["k"],
    }  # fmt: skip


def test_options_that_are_left_out_have_their_defaults():
    filled = MECHANISMS["quantize"].filled({"bits": 4})
    assert filled == {"bits": 4, "per": "row"}
    assert MECHANISMS["secure_sum"].filled({}) == {"range": 2.0**20}


def protected(mechanism, rows, draws=(), **options):
    """Of rows [n, 3]: what crosses in training and after it, what is kept, and what is drawn."""
    b, drawn = build(), []
    row = value(b, "row", None, rows.shape[1])

    def draw(kind, width):
        drawn.append((kind, width))
        return value(b, f"drawn{len(drawn)}", None, width)

    made = MECHANISMS[mechanism].apply(b, row, MECHANISMS[mechanism].filled(options), draw)
    feeds = {"row": rows, **{f"drawn{n}": each for n, each in enumerate(draws, 1)}}
    nodes = [node.id for node in (made.training, made.inference, made.kept) if node is not None]
    return evaluate(b.graph, feeds, nodes), drawn


LONG = np.array([[3.0, 4.0, 0.0], [0.3, -0.4, 0.0], [0.0, 0.0, 0.0], [-60.0, 0.0, 80.0]])
DRAWN = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5], [1.0, 1.0, 1.0], [-1.0, 0.0, 3.0]])


@pytest.mark.parametrize("clip", [0.25, 2.0])
def test_rows_are_clipped_a_hair_below_the_bound(clip):
    """So much that rounding in float32 does not put one above it."""
    b = build()
    short = clipped(b, value(b, "row", None, 3), clip)
    (found,) = evaluate(b.graph, {"row": LONG}, [short.id])
    norms, most = np.linalg.norm(LONG, axis=1), clip * (1 - 2.0**-20)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.minimum(norms, most), rtol=1e-12)
    np.testing.assert_allclose(found * norms[:, None], LONG * np.minimum(norms, most)[:, None], rtol=1e-12)
    wide = np.random.default_rng().normal(size=(200, 64)).astype("f")
    b = build()
    short = clipped(b, value(b, "row", None, 64), clip)
    (single,) = run_onnx(b.graph, {"row": wide}, [short.id], False)
    assert (np.linalg.norm(single.astype("d"), axis=1) <= clip).all()


@pytest.mark.parametrize("passes", [None, 0, 2])
@pytest.mark.parametrize("noise", [None, 0.5])
def test_noise_is_a_multiple_of_the_clip(passes, noise):
    (training, after), drawn = protected(
        "gaussian", LONG, [DRAWN], clip=2.0, noise=noise, epsilon=8, passes=passes
    )
    assert drawn == [(Draw("normal", None if noise is None else 1.0), 3)]
    (short, _), _ = protected("gaussian", LONG, [0 * DRAWN], clip=2.0, noise=noise, epsilon=8)
    np.testing.assert_allclose(training, short + DRAWN)
    np.testing.assert_allclose(after, short if passes is None else training)


def test_norms_are_the_largest_in_expectation():
    rows = LONG[[0, 1, 3]]
    along = DRAWN[:3, :1]
    (training, after), drawn = protected("max_norm", rows, [along])
    assert drawn == [(Draw("normal"), 1)]
    square = (rows**2).sum(1, keepdims=True)
    np.testing.assert_allclose(training, rows * (1 + along * np.sqrt(square.max() / square - 1)))
    np.testing.assert_array_equal(after, rows)
    (still, _), _ = protected("max_norm", 0 * rows, [along])
    assert not still.any(), "rows of zeros have no direction"
    tiny = np.array([[1e-9, 0, 0], [1.0, 0, 0]])
    (found, _), _ = protected("max_norm", tiny, [np.ones((2, 1))])
    np.testing.assert_allclose(found[0, 0], 1e-9 * (1 + np.sqrt(1e12 - 1)), rtol=1e-9)


def test_noise_in_all_directions():
    (training, after), drawn = protected("iso", LONG, [DRAWN], scale=1.5)
    assert drawn == [(Draw("normal"), 3)]
    np.testing.assert_allclose(training, LONG + DRAWN * 100 * 1.5 / np.sqrt(3))
    np.testing.assert_array_equal(after, LONG)


@pytest.mark.parametrize("bits", [2, 5])
@pytest.mark.parametrize("per", ["row", "batch"])
def test_numbers_on_a_grid(per, bits):
    """What is left out is kept, and comes with the next message of the row; the ends of a grid stay."""

    def grid(x):
        if per == "row":
            top, levels = np.maximum(np.abs(x).max(1, keepdims=True), 1e-24), 2 ** (bits - 1) - 1
            return top * np.floor(x / top * levels + 0.5) / levels
        low, high, levels = x.min(), x.max(), 2**bits - 1
        share = np.floor((x - low) / (high - low) * levels + 0.5) / levels
        return low * (1 - share) + high * share

    (training, after, kept), drawn = protected("quantize", LONG, [DRAWN], bits=bits, per=per)
    assert drawn == [(Draw("memory"), 3)]
    np.testing.assert_allclose(training, grid(LONG + DRAWN), atol=1e-12)
    np.testing.assert_allclose(kept, LONG + DRAWN - training, atol=1e-12)
    np.testing.assert_allclose(after, grid(LONG), atol=1e-12)
    (same, _, left), _ = protected("quantize", 0 * LONG, [0 * DRAWN], bits=bits, per=per)
    assert not same.any() and not left.any()


@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_the_largest_of_a_row(k):
    (training, _, kept), _ = protected("top_k", LONG, [DRAWN], k=k)
    full = LONG + DRAWN
    for row, sent in zip(full, training, strict=True):
        order = np.argsort(-np.abs(row), kind="stable")[:k]
        np.testing.assert_allclose(sent, np.where(np.isin(np.arange(3), order), row, 0))
    np.testing.assert_allclose(kept, full - training)


@pytest.mark.parametrize(
    ("passes", "told", "not_told"),
    [
        (None, "in training are", "pass"),
        (0, "each pass sends", "passes"),
        (1, "and 1 pass of evaluation", "passes"),
        (2, "and 2 passes of evaluation", "each pass "),
    ],
)
def test_a_promise_names_its_passes(passes, told, not_told):
    gaussian = MECHANISMS["gaussian"]
    promise = gaussian.promise(gaussian.filled({"clip": 1.5, "epsilon": 8, "passes": passes}))
    assert (
        told in promise and not_told not in promise and "(ε = 8, δ = 1e-06)" in promise and "1.5" in promise
    )
