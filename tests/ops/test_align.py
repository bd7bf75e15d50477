"""How values fit together by the names and sizes of their axes."""

from __future__ import annotations

import numpy as np
import pytest
from op_testing import build, call, evaluate, value

from vflc.ops import OpError

E3, U16, F4 = ("expert", 3), ("unit", 16), ("field", 4)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ((None, 3), (None, 3), "[3]"),
        ((None, E3), (None, 3), "[expert 3]"),
        ((None, E3), (None, E3, U16), "[expert 3, unit 16]"),
        ((None, E3), (None, E3, 16), "[expert 3, 16]"),
        ((None, E3), (None, E3, 3), "[expert 3, 3]"),
        ((None, U16), (None, E3, U16), "[expert 3, unit 16]"),
        ((None, F4, ("k", 16)), (16,), "[field 4, k 16]"),
        ((F4, 16), (None, 16), "[field 4, 16]"),
        ((None, 1), (None, F4, 16), "[field 4, 16]"),
        ((None, 1), (None, 1), "[1]"),
        ((None, E3, U16), (None, U16, E3), "[expert 3, unit 16]"),
        ((None, F4, 2), (None, F4, E3, 2), "[field 4, expert 3, 2]"),
        ((), (None, F4), "[field 4]"),
        ((F4,), (F4, 3), "[field 4, 3] (once)"),
        ((None, ("a", 1), 3), (None, ("b", 2), 3), "[b 2, 3]"),
    ],
)
def test_shapes_fit_and_values_are_those_of_the_names(x, y, expected):
    for first, second in ((x, y), (y, x)):
        b = build()
        left, right = value(b, "left", *first), value(b, "right", *second)
        product = call("mul", b, left, right)
        if first is x or len({len(x), len(y)}) > 1:
            assert str(product.type) == expected
        feeds = {
            n.id: np.random.default_rng(0).normal(size=[5 if s is None else s for s in n.type.sizes])
            for n in (left, right)
        }
        (found,) = evaluate(b.graph, feeds, [product.id])
        assert found.shape == tuple(5 if s is None else s for s in product.type.sizes)


def test_alignment_by_name_multiplies_the_right_elements():
    b = build()
    gate, experts = value(b, "gate", None, E3), value(b, "experts", None, E3, 3)
    mixed = call("sum", b, call("mul", b, gate, experts), "expert")
    rng = np.random.default_rng(0)
    feeds = {"gate": rng.normal(size=(5, 3)), "experts": rng.normal(size=(5, 3, 3))}
    (found,) = evaluate(b.graph, feeds, [mixed.id])
    np.testing.assert_allclose(found, np.einsum("be,beu->bu", feeds["gate"], feeds["experts"]))


def test_axes_in_another_order_are_transposed():
    b = build()
    x, y = value(b, "x", None, E3, U16), value(b, "y", None, U16, E3)
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(5, 3, 16)), "y": rng.normal(size=(5, 16, 3))}
    (found,) = evaluate(b.graph, feeds, [call("sub", b, x, y).id])
    np.testing.assert_allclose(found, feeds["x"] - feeds["y"].transpose(0, 2, 1))


@pytest.mark.parametrize(
    ("x", "y", "help"),
    [
        ((None, 3), (None, 4), "equal sizes"),
        ((None, ("a", 3)), (None, ("b", 3)), "rename(x, a, to = b)"),
        ((None, F4, 2), (None, 3, 2), "equal sizes"),
        ((None, E3), (None, U16), "equal sizes"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_with_a_hint(x, y, help):
    b = build()
    with pytest.raises(OpError) as refused:
        call("add", b, value(b, "x", *x), value(b, "y", *y))
    assert help in refused.value.help
    assert refused.value.code == "VFL0201"


def test_ids_have_no_arithmetic_but_can_be_compared():
    b = build()
    ids = value(b, "UserID", None, dtype="int")
    with pytest.raises(OpError, match="UserID"):
        call("add", b, ids, b.constant(1.0))
    same = call("equal", b, ids, b.constant(3.0))
    (found,) = evaluate(b.graph, {"UserID": np.array([3, 4], np.int32)}, [same.id])
    assert found.tolist() == [[True], [False]]


def test_an_unknown_axis_is_refused_and_one_unnamed_axis_takes_the_name():
    b = build()
    assert str(call("softmax", b, value(b, "x", None, 3), "expert").type) == "[expert 3]"
    with pytest.raises(OpError) as refused:
        call("sum", b, value(b, "y", None, F4), "feild")
    assert refused.value.code == "VFL0202" and "`field`" in refused.value.help
    with pytest.raises(OpError):
        call("softmax", b, value(b, "z", None, 2, 3), "expert")
