"""Functions of the language against numpy: every arrangement of axes, and every branch that chooses ops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from op_testing import build, call, evaluate, feature, value

from vflc.ir.build import Build, Initializer
from vflc.ir.graph import Node
from vflc.ir.types import Axis
from vflc.ops import LOSSES, OpError
from vflc.ops.elementwise import as_condition
from vflc.ops.loss import UNKNOWN, rule_of

ROWS = 5


def numbers(*nodes: Node, seed: int = 0) -> dict[str, Any]:
    """Random numbers for values, `ROWS` where an axis is open."""
    rng = np.random.default_rng(seed)
    return {n.id: rng.normal(size=[ROWS if s is None else s for s in n.type.sizes]) for n in nodes}


def weights(b: Build) -> list[Node]:
    return [node for node in b.graph if node.op == "weight"]


def found(b: Build, feeds: dict[str, Any], *nodes: Node, training: bool = True) -> list[Any]:
    return evaluate(b.graph, feeds, [node.id for node in nodes], training)


# --- products -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "formula", "type_"),
    [
        ("B 3", "3 4", "bk,kn->bn", "[4]"),
        ("B 3", "B 3 4", "bk,bkn->bn", "[4]"),
        ("B 2 3", "3", "bmk,k->bm", "[2]"),
        ("B 2 3", "B 3", "bmk,bk->bm", "[2]"),
        ("B 2 3", "3 4", "bmk,kn->bmn", "[2, 4]"),
        ("2 3", "B 3", "mk,bk->bm", "[2]"),
        ("2 3", "B 3 4", "mk,bkn->bmn", "[2, 4]"),
        ("3", "B 3 4", "k,bkn->bn", "[4]"),
        ("3", "3 4", "k,kn->n", "[4] (once)"),
        ("2 3", "3", "mk,k->m", "[2] (once)"),
        ("2 3", "3 4", "mk,kn->mn", "[2, 4] (once)"),
        ("B 5 2 3", "B 5 3 4", "bimk,bikn->bimn", "[5, 2, 4]"),
        ("B 5 2 3", "B 3 4", None, None),
    ],
)
def test_products_of_all_arrangements(left: str, right: str, formula: str | None, type_: str | None) -> None:
    b = build()
    given = [[None if a == "B" else int(a) for a in each.split()] for each in (left, right)]
    x, y = value(b, "x", *given[0]), value(b, "y", *given[1])
    if formula is None:
        with pytest.raises(OpError):
            call("matmul", b, x, y)
        return
    made, feeds = call("matmul", b, x, y), numbers(x, y)
    assert str(made.type) == type_
    np.testing.assert_allclose(found(b, feeds, made)[0], np.einsum(formula, feeds["x"], feeds["y"]))


def test_dot_of_all_that_fits() -> None:
    b = build()
    x, y, w = value(b, "x", None, 2, 3), value(b, "y", None, 2, 3), value(b, "w", 3)
    feeds = numbers(x, y, w)
    whole, by_weight = call("dot", b, x, y), call("dot", b, x, w)
    assert str(whole.type) == str(by_weight.type) == "[1]"
    one, other = found(b, feeds, whole, by_weight)
    np.testing.assert_allclose(one[:, 0], (feeds["x"] * feeds["y"]).sum((1, 2)))
    np.testing.assert_allclose(other[:, 0], (feeds["x"] @ feeds["w"]).sum(1))


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("batched", [False, True])
def test_attention_is_its_formula(many: bool, masked: bool, batched: bool) -> None:
    b, rows = build(), [None] if batched else []
    query = value(b, "query", *rows, *([3] if many else []), 4)
    key, content = value(b, "key", *rows, ("value", 6), 4), value(b, "content", *rows, ("value", 6), 2)
    mask = value(b, "mask", *rows, ("value", 6))
    made = call("attention", b, query, key, content, mask if masked else None)
    feeds = numbers(query, key, content)
    feeds["mask"] = np.where(np.arange(6) < 4, 0.5, 0.0) * np.ones([ROWS, 1] if batched else [1])
    q, k, v = (feeds[name] for name in ("query", "key", "content"))
    scores = np.einsum("...nd,...md->...nm", q if many else q[..., None, :], k) / 2
    if masked:
        scores = np.where(feeds["mask"][..., None, :] > 0, scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    wanted = np.einsum("...nm,...me->...ne", shares, v)
    (result,) = found(b, feeds, made)
    np.testing.assert_allclose(result, wanted if many else wanted[..., 0, :], rtol=1e-12)


def test_attention_refuses_what_has_other_axes() -> None:
    b = build()
    x, grid, wide = value(b, "x", None, 4), value(b, "grid", None, 3, 4), value(b, "wide", None, 3, 5)
    open_ = value(b, "open", None, 3, None)
    for query, key, content in (
        (grid, x, grid), (grid, grid, x), (value(b, "deep", None, 2, 3, 4), grid, grid),
    ):  # fmt: skip
        with pytest.raises(OpError, match="attention over") as refused:
            call("attention", b, query, key, content)
        assert refused.value.help
    for query, key in ((grid, wide), (open_, open_)):
        with pytest.raises(OpError, match="attention of a query") as refused:
            call("attention", b, query, key, grid)
        assert refused.value.help == "give both the same number of units"


# --- joining, cutting, naming -------------------------------------------------------------------------


def test_values_of_rows_and_of_none_are_stacked_and_flattened() -> None:
    b = build()
    x, y, w = value(b, "x", None, 2, 3), value(b, "y", None, 2, 3), value(b, "w", 4)
    truth = value(b, "truth", None, dtype="bool")
    pairs, lone = call("stack", b, [x, y], "pair"), call("stack", b, [w, w], "pair")
    assert (str(pairs.type), str(lone.type)) == ("[pair 2, 2, 3]", "[pair 2, 4] (once)")
    flat, flat_lone = call("flatten", b, pairs), call("flatten", b, lone)
    assert (str(flat.type), str(flat_lone.type)) == ("[12]", "[8] (once)")
    assert call("flatten", b, w) is w
    feeds = numbers(x, y, w)
    one, other = found(b, feeds, flat, flat_lone)
    both = np.stack([feeds["x"], feeds["y"]], 1)
    np.testing.assert_array_equal(one, both.reshape(ROWS, 12))
    np.testing.assert_array_equal(other, np.tile(feeds["w"], 2))
    assert str(call("stack", b, x, "alone").type) == "[alone 1, 2, 3]"
    assert str(call("flatten", b, truth).type) == "[1]"
    names = call("rename", b, call("rename", b, pairs, "pair", "a"), "a", "b")
    assert str(names.type) == "[b 2, 2, 3]"


def test_joined_along_the_axis_that_is_named() -> None:
    b = build()
    x, y = value(b, "x", None, ("f", 2), 3), value(b, "y", None, ("f", 1), 3)
    z = value(b, "z", None, ("f", 2), 4)
    along, last = call("concat", b, x, y, x, axis="f"), call("concat", b, [x, z])
    assert (str(along.type), str(last.type)) == ("[f 5, 3]", "[f 2, 7]")
    feeds = numbers(x, y, z)
    one, other = found(b, feeds, along, last)
    np.testing.assert_array_equal(one, np.concatenate([feeds["x"], feeds["y"], feeds["x"]], 1))
    np.testing.assert_array_equal(other, np.concatenate([feeds["x"], feeds["z"]], 2))


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_reductions_of_what_is_the_same_for_all_rows(name: str) -> None:
    b = build()
    w = value(b, "w", ("a", 2), ("b", 3))
    whole, part = call(name, b, w), call(name, b, w, "a")
    assert (str(whole.type), str(part.type)) == ("[] (once)", "[b 3] (once)")
    feeds = numbers(w)
    one, other = found(b, feeds, whole, part)
    np.testing.assert_allclose(one, getattr(np, name)(feeds["w"]))
    np.testing.assert_allclose(other, getattr(np, name)(feeds["w"], axis=0))


def test_an_open_size_is_left_for_the_rest_of_a_reshape() -> None:
    b = build()
    x, w = value(b, "x", None, 2, 6), value(b, "w", 2, 6)
    shapes = {(-1,): "[12]", (3, -1): "[3, 4]", (-1, 12): "[1, 12]", (4, 3): "[4, 3]"}
    for sizes, shown in shapes.items():
        assert str(call("reshape", b, x, *sizes).type) == shown
        assert str(call("reshape", b, w, *sizes).type) == f"{shown} (once)"
    for sizes in ((0,), (-1, 0), (-1, 5), (24, -1), (-2, -6), (12, 0), ()):
        with pytest.raises(OpError, match="cannot be reshaped") as refused:
            call("reshape", b, x, *sizes)
        assert "multiply to 12" in str(refused.value.help)


# --- conditions ----------------------------------------------------------------------------------------


def test_what_holds_as_a_condition() -> None:
    """Numbers other than 0; a truth value of a row alone has an axis of its own."""
    b = build()
    x, alone = value(b, "x", None, 3), value(b, "alone", None, dtype="bool")
    truth, once = value(b, "truth", None, 3, dtype="bool"), value(b, "once", 3, dtype="bool")
    assert as_condition(b, truth) is truth and as_condition(b, once) is once
    assert str(as_condition(b, alone).type) == "[1] bool"
    feeds = {"x": np.array([[0.0, 1.0, -0.5]])}
    assert found(b, feeds, as_condition(b, x))[0].tolist() == [[False, True, True]]


def test_choices_between_values_of_other_shapes() -> None:
    b = build()
    x, grid, w = value(b, "x", None, 3), value(b, "grid", None, ("f", 2), 3), value(b, "w", 3)
    truth = value(b, "truth", None, dtype="bool")
    feeds = numbers(x, grid, w) | {"truth": np.arange(ROWS) % 2 > 0}
    first, grid_value, weight, zero = feeds["truth"][:, None], feeds["grid"], feeds["w"], b.constant(0.0)
    above = call("greater", b, grid, x)
    cases = [
        (call("where", b, truth, x, w), np.where(first, feeds["x"], weight)),
        (call("where", b, above, grid, zero), grid_value * (grid_value > feeds["x"][:, None])),
        (call("logical_or", b, truth, call("less", b, x, zero)), first | (feeds["x"] < 0)),
        (call("logical_and", b, truth, x), first & (feeds["x"] != 0)),
        (call("logical_not", b, x), feeds["x"] == 0),
        (call("not_equal", b, x, x), np.zeros((ROWS, 3), bool)),
    ]
    for node, wanted in cases:
        np.testing.assert_array_equal(found(b, feeds, node)[0], wanted)


def test_powers_of_constants_and_of_values() -> None:
    """Only the exponents 1, 2 and 1/2 are other ops, and only where they are one constant."""
    b = build()
    x, y = value(b, "x", None, 3), value(b, "y", None, 1)
    y.attrs["value"] = 2.0
    several = b.constant((2.0, 2.0, 2.0))
    for exponent, op in ((2.0, "square"), (0.5, "sqrt"), (3.0, "pow"), (-1.0, "pow"), (1.5, "pow")):
        assert call("pow", b, x, b.constant(exponent)).op == op
    assert call("pow", b, x, several).op == call("pow", b, x, y).op == "pow"
    assert call("pow", b, b.constant(2.0), x).op == "pow"
    feeds = {"x": np.array([[4.0, 9.0, 0.25]]), "y": np.array([[0.5]])}
    nodes = [call("pow", b, x, each) for each in (b.constant(2.0), b.constant(0.5), several, y)]
    powers = [feeds["x"] ** 2, feeds["x"] ** 0.5, feeds["x"] ** 2, feeds["x"] ** 0.5]
    for result, wanted in zip(found(b, feeds, *nodes), powers, strict=True):
        np.testing.assert_allclose(result, wanted)


# --- layers --------------------------------------------------------------------------------------------


def test_an_mlp_drops_after_every_layer_but_the_last() -> None:
    b = build()
    made = call("mlp", b, value(b, "x", None, 4), [3, 3, 2], dropout=0.5)
    assert sum(node.op == "random" for node in b.graph) == 2 and made.op == "relu"
    assert not any(n.op == "random" for n in _made("mlp", [3, 3, 2]).graph)
    names = [node.attrs["name"] for node in weights(_made("mlp", [3, 2], bias=False))]
    assert names == ["mlp.0.kernel", "mlp.1.kernel"]
    ops = [n.op for n in _made("mlp", [3, 3, 2], activation="tanh", last="sigmoid").graph]
    assert ops.count("tanh") == 2 and ops.count("sigmoid") == 1


def _made(name: str, *arguments: Any, **options: Any) -> Build:
    b = build()
    call(name, b, value(b, "x", None, 4), *arguments, **options)
    return b


@pytest.mark.parametrize("sizes", ["B 4", "B 2 4", "4"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_is_a_product_and_a_sum(sizes: str, bias: bool) -> None:
    b = build()
    x = value(b, "x", *[None if a == "B" else int(a) for a in sizes.split()])
    made = call("dense", b, x, 3, activation="tanh", bias=bias, init="normal", scale=0.25)
    kernel, *more = weights(b)
    assert kernel.attrs["init"] == Initializer("normal", 0.25) and len(more) == bias
    feeds = numbers(x, kernel, *more)
    product = feeds["x"] @ feeds[kernel.id] + (feeds[more[0].id] if bias else 0)
    assert made.type.sizes == (*x.type.sizes[:-1], 3)
    np.testing.assert_allclose(found(b, feeds, made)[0], np.tanh(product))


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm"])
@pytest.mark.parametrize(("axis", "place"), [("f", 1), ("u", 2), (None, 2)])
def test_norms_along_any_axis(name: str, axis: str | None, place: int) -> None:
    b = build()
    x = value(b, "x", None, ("f", 2), ("u", 3))
    made = call(name, b, x, axis, epsilon=0.25)
    assert made.type == x.type
    gamma, beta, *running = weights(b)
    assert gamma.type.sizes == beta.type.sizes == (x.type.sizes[place],)
    assert (gamma.attrs["init"], beta.attrs["init"]) == (Initializer("constant", 1.0), Initializer("zeros"))
    starts = [node.attrs["init"] for node in running]
    assert starts == [Initializer("zeros"), Initializer("constant", 1.0)][: len(running)]
    feeds = numbers(x, gamma, beta, *running)
    over = place if name == "layer_norm" else tuple(i for i in range(3) if i != place)
    mean, spread = (f(feeds["x"], axis=over, keepdims=True) for f in (np.mean, np.var))
    along = [1, 1, 1]
    along[place] = -1
    scaled = (feeds["x"] - mean) / np.sqrt(spread + 0.25)
    wanted = scaled * feeds[gamma.id].reshape(along) + feeds[beta.id].reshape(along)
    np.testing.assert_allclose(found(b, feeds, made)[0], wanted)
    if running:
        after = [b.graph[node] for _, node in b.assigns]
        for old, new, now in zip(running, found(b, feeds, *after), (mean, spread), strict=True):
            np.testing.assert_allclose(new, 0.99 * feeds[old.id] + 0.01 * now.reshape(-1))


def test_positions_are_learned_for_an_axis_and_all_after_it() -> None:
    b = build()
    x = value(b, "x", None, ("f", 2), ("value", 3), 4)
    made = call("positions", b, x, scale=0.5)
    (vectors,) = weights(b)
    assert vectors.type.sizes == (3, 4) and vectors.attrs["init"] == Initializer("uniform", 0.5)
    feeds = numbers(x, vectors)
    np.testing.assert_allclose(found(b, feeds, made)[0], feeds["x"] + feeds[vectors.id])


def test_a_value_is_repeated_like_another_that_has_all_its_axes() -> None:
    b = build()
    x, grid, w = value(b, "x", None, 3), value(b, "grid", None, ("f", 2), 3), value(b, "w", 3)
    made, lone = call("expand", b, x, grid), call("expand", b, w, grid)
    feeds = numbers(x, grid, w)
    one, other = found(b, feeds, made, lone)
    np.testing.assert_array_equal(one, np.repeat(feeds["x"][:, None], 2, 1))
    np.testing.assert_array_equal(other, np.broadcast_to(feeds["w"], (ROWS, 2, 3)))
    with pytest.raises(OpError, match="has axes that") as refused:
        call("expand", b, grid, x)
    assert refused.value.help


def test_what_is_present_of_one_id_and_of_many() -> None:
    b = build()
    one, many = feature(b, "one", "id", 3), feature(b, "many", "ids", 3)
    label = feature(b, "label", "ids", 3, "label")
    feeds = {"one": np.array([0, -1], np.int32), "many": np.array([[0, 2, -1], [-1, -1, -1]], np.int32)}
    feeds["label"] = feeds["many"]
    nodes = [call("present", b, each) for each in (one, many, label)]
    assert str(nodes[0].type) == "[value 1]"
    single, several, labels = (each.tolist() for each in found(b, feeds, *nodes))
    assert single == [[1], [0]] and several == labels == [[1, 1, 0], [0, 0, 0]]
    for wrong in (call("one_hot", b, one), b.op("unique", one), value(b, "z", None, 1)):
        with pytest.raises(OpError, match="present of") as refused:
            call("present", b, wrong)
        assert "present(" in str(refused.value.help)


# --- tables --------------------------------------------------------------------------------------------


def test_ids_of_many_values_look_up_rows_and_zeros() -> None:
    b = build()
    table = call("table", b, 4, 2, init="normal", scale=0.5)
    assert table.attrs["init"] == Initializer("normal", 0.5) and table.attrs["table"]
    assert [axis.name for axis in table.type.axes] == ["row", None]
    one, many = feature(b, "one", "id", 4), feature(b, "many", "ids", 4)
    made = [call("lookup", b, table, each) for each in (one, many)]
    assert [node.attrs["missing"] for node in made] == [False, True]
    feeds = numbers(table) | {"one": np.array([3, 0], np.int32), "many": np.array([[1, -1]] * 2, np.int32)}
    rows = feeds[table.id]
    single, several = found(b, feeds, *made)
    np.testing.assert_array_equal(single, rows[[3, 0]])
    np.testing.assert_array_equal(several, [[rows[1], [0, 0]]] * 2)


def test_a_lone_feature_is_embedded_without_an_axis_of_fields() -> None:
    b = build()
    one = feature(b, "one", "id", 4)
    assert str(call("embed", b, one, 2, scale=0.5).type) == "[2]"
    assert str(call("embed", b, [one], 2).type) == "[field 1, 2]"
    (table, _) = weights(b)
    assert table.attrs["init"] == Initializer("uniform", 0.5)
    assert call("weight", b, 2, 3, init="ones").attrs["init"] == Initializer("constant", 1.0)


# --- losses and penalties ------------------------------------------------------------------------------


def test_what_is_known_of_a_loss() -> None:
    """Its prediction, the op that makes probabilities, that of its terms, whether it learns classes."""
    known = {
        name: (rule.predicted, rule.shares, rule.terms, rule.classifies) for name, rule in LOSSES.items()
    }
    assert known == {
        "bce": ("binary", "sigmoid", "bce_terms", True), "cce": ("multiclass", "softmax", "cce_terms", True),
        "mse": ("number", None, None, False), "mae": ("number", None, None, False),
        "huber": ("number", None, None, False), "quantile": ("number", None, None, False),
        "poisson": ("number", None, None, False), "focal": ("binary", "sigmoid", None, True),
        "hinge": ("binary", "sigmoid", None, True),
        "gaussian_nll": ("number", None, None, False), "ordinal": ("multiclass", "class_shares", None, True),
        "bpr": ("number", None, None, False), "triplet": ("number", None, None, False),
        "info_nce": ("number", None, None, False),
    }  # fmt: skip
    assert all(rule_of(name) is rule and rule.name == name and rule.tells for name, rule in LOSSES.items())
    assert rule_of("l2") is UNKNOWN and UNKNOWN.classifies and UNKNOWN.predicted == "number"


OTHERWISE = {"cce", "ordinal", "gaussian_nll", "bpr", "triplet", "info_nce"}
"""Losses of other values than a number and its label: tests of their own have them."""


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in OTHERWISE])
def test_a_loss_notes_what_it_compares(name: str) -> None:
    b = build()
    x, y, w = value(b, "x", None, 1), feature(b, "y", "number", op="label"), value(b, "w", None)
    plain, weighted = call(name, b, x, y), call(name, b, x, y, weight=w)
    terms = [(t.node_id, t.logit_id, t.label_id, t.weight_id, t.whole) for t in b.losses]
    assert terms == [(plain.id, "x", "y", None, ()), (weighted.id, "x", "y", "w", ())]
    feeds = {"x": np.array([[0.25], [-0.5]]), "y": np.array([[1.0], [0.0]]), "w": np.array([0.0, 3.0])}
    one, other = found(b, feeds, plain, weighted)
    (second,) = found(b, {n: each[1:] for n, each in feeds.items()}, plain)
    assert other == pytest.approx(second * 1.5) and one != pytest.approx(other)


def test_huber_is_square_up_to_delta_and_linear_beyond() -> None:
    b = build()
    x, y = value(b, "x", None, 1), feature(b, "y", "number", op="label")
    node = call("huber", b, x, y, delta=2.0)
    for apart, wanted in ((0.0, 0.0), (1.0, 0.5), (-2.0, 2.0), (3.0, 4.0), (-5.0, 8.0)):
        assert found(b, {"x": np.array([[apart]]), "y": np.zeros((1, 1))}, node)[0] == wanted


def test_hints_of_losses() -> None:
    b = build()
    y, several, lone = value(b, "y", None, 1), value(b, "g", None, 2, 3), value(b, "s", None, 3)
    for given, hint in ((several, "dense(flatten(x), 1)"), (lone, "dense(x, 1)")):
        with pytest.raises(OpError, match="mse of a prediction") as refused:
            call("mse", b, given, y)
        assert hint in str(refused.value.help)
    with pytest.raises(OpError, match="do not depend on the row") as refused:
        call("mse", b, value(b, "w", 1), value(b, "v", 1))
    assert refused.value.help
    with pytest.raises(OpError, match="bce with a label of 3 classes") as refused:
        call("bce", b, value(b, "z", None, 1), feature(b, "y3", "id", 3, "label"))
    assert "cce" in str(refused.value.help)
    assert call("bce", b, value(b, "z2", None, 1), feature(b, "x3", "id", 3)).type.rank == 0, "no label"


def test_a_penalty_notes_what_it_covers() -> None:
    b = build()
    w = call("weight", b, 2)
    table = b.weight("t", (Axis("row", 3), Axis(None, 2)), Initializer("zeros"), table=True)
    call("lookup", b, table, feature(b, "U", "id", 3))
    read, whole = call("l2", b, 0.5, [w, table]), call("l1", b, 0.25, table, w, rows="all")
    assert [(t.node_id, t.kind, t.whole, t.strength) for t in b.losses] == [
        (read.id, "l2", (), 0.5), (whole.id, "l1", (table.id, w.id), 0.25),
    ]  # fmt: skip
    feeds = {w.id: np.array([1.0, -2.0]), table.id: np.array([[1.0, -1.0], [2.0, 0.0], [3.0, 3.0]])}
    feeds["U"] = np.array([2, 2], np.int32)
    one, other = found(b, feeds, read, whole)
    assert one == 0.25 * (5 + 18) and other == 0.25 * (3 + 10)
