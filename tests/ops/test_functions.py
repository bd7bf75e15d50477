"""Functions of the language: shapes, values, names of weights, and refusals."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from op_testing import (
    build,
    call,
    differences,
    evaluate,
    feature,
    gradients,
    keras,
    value,
)

from vflc.ir.build import Initializer
from vflc.ops import FUNCTIONS, OpError, find_function

RNG = np.random.default_rng(3)
needs_keras = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed"
)


def weights(b):
    return {n.attrs["name"]: n for n in b.graph if n.op == "weight"}


def feeds_for(b, **given):
    """Random values for all weights beside the given ones."""
    drawn = {name: RNG.normal(size=n.type.sizes) for name, n in weights(b).items()}
    return {**drawn, **given}


def refused(name, *arguments, **named):
    with pytest.raises(OpError) as error:
        call(name, *arguments, **named)
    assert error.value.help
    return error.value


# --- registry -------------------------------------------------------------------------------------


def test_signatures_use_the_kinds_that_lowering_knows():
    kinds = {"Node", "Nodes", "WeightNodes", "float", "int", "bool", "str", "Ints", "AxisName"}
    for function in FUNCTIONS.values():
        used = {kind for p in function.parameters for kind in p.kind.split(" | ")}
        assert used <= {*kinds, "None"}, function.name


def test_unknown_functions_are_looked_for_in_other_packages_once(monkeypatch):
    assert find_function("dense") is FUNCTIONS["dense"]
    assert find_function("no_such_function") is None


# --- sums and shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_reductions_keep_an_axis_a_row(name):
    b = build()
    x = value(b, "x", None, ("field", 4), 3)
    assert str(call(name, b, x).type) == "[1]"
    assert str(call(name, b, x, "field").type) == "[3]"
    assert str(call(name, b, call(name, b, x, "field"), "unit").type) == "[1]"
    assert str(call(name, b, value(b, "w", 4, 3)).type) == "[] (once)"
    x_value = RNG.normal(size=(5, 4, 3))
    (found,) = evaluate(b.graph, {"x": x_value}, [call(name, b, x).id])
    np.testing.assert_allclose(found, getattr(np, name)(x_value, axis=(1, 2))[:, None])


def test_joining_cutting_and_naming():
    b = build()
    x, y = value(b, "x", None, 3), value(b, "y", None, 2)
    assert str(call("concat", b, x, y).type) == "[5]"
    assert str(call("concat", b, [x, y], x).type) == "[8]"
    assert str(call("stack", b, [x, x], "expert").type) == "[expert 2, 3]"
    assert str(call("flatten", b, call("stack", b, [x, x], "expert")).type) == "[6]"
    assert str(call("slice", b, x, "unit", 1, 3).type) == "[unit 2]"
    assert str(call("reshape", b, call("concat", b, x, x), 2, -1).type) == "[2, 3]"
    assert str(call("rename", b, call("stack", b, [x, x], "a"), "a", "b").type) == "[b 2, 3]"
    assert call("concat", b, x) is x is call("concat", b, [x]), "nothing is joined"
    refused("stack", b, [x, y], "expert")
    refused("concat", b)
    refused("reshape", b, x, 2, 2)
    refused("concat", b, x, value(b, "w", 3))


def test_products():
    b = build()
    x, y, w, v = (
        value(b, "x", None, 3),
        value(b, "y", None, 3, 2),
        value(b, "w", 3, 4),
        value(b, "v", None, 2, 3),
    )
    feeds = {n.id: RNG.normal(size=[5 if s is None else s for s in n.type.sizes]) for n in (x, y, w, v)}
    cases = {
        "bk,kn->bn": (x, w),
        "bk,bkn->bn": (x, y),
        "bmk,kn->bmn": (v, w),
        "bmk,bkn->bmn": (v, y),
        "bmk,bk->bm": (v, x),
    }
    for formula, (left, right) in cases.items():
        (found,) = evaluate(b.graph, feeds, [call("matmul", b, left, right).id])
        np.testing.assert_allclose(found, np.einsum(formula, feeds[left.id], feeds[right.id]))
    (found,) = evaluate(b.graph, feeds, [call("dot", b, x, x).id])
    np.testing.assert_allclose(found, (feeds["x"] ** 2).sum(1, keepdims=True))
    refused("matmul", b, x, x)


def test_powers_and_whole_division():
    b = build()
    x = value(b, "x", None, 3)
    assert call("pow", b, x, b.constant(2.0)).op == "square"
    assert call("pow", b, x, b.constant(0.5)).op == "sqrt"
    assert call("pow", b, x, b.constant(1.0)) is x
    x_value = np.array([[-2.5, 0.5, 7.0]])
    nodes = [call(name, b, x, b.constant(2.0)).id for name in ("floordiv", "mod")]
    whole, rest = evaluate(b.graph, {"x": x_value}, nodes)
    np.testing.assert_allclose(whole, x_value // 2)
    np.testing.assert_allclose(rest, x_value % 2)


def test_conditions():
    b = build()
    x = value(b, "x", None, 3)
    zero = b.constant(0.0)
    positive = call("greater", b, x, zero)
    both = call("logical_and", b, positive, call("logical_not", b, call("equal", b, x, b.constant(2.0))))
    chosen = call("where", b, both, x, zero)
    (found,) = evaluate(b.graph, {"x": np.array([[-1.0, 2.0, 3.0]])}, [chosen.id])
    assert found.tolist() == [[0.0, 0.0, 3.0]]
    assert call("mul", b, positive, x).type.dtype == "float"


# --- layers ----------------------------------------------------------------------------------------------


def test_layers_name_their_weights_by_scope():
    b = build()
    x = value(b, "x", None, 6)
    with b.within(scope=("a", "deep")):
        y = call("mlp", b, x, [4, 3])
    with b.within(scope=("logit",)):
        call("dense", b, y, 1)
        call("dense", b, y, 1, bias=False)
    names = ["a.deep.mlp.0.kernel", "a.deep.mlp.0.bias", "a.deep.mlp.1.kernel", "a.deep.mlp.1.bias"]
    assert list(weights(b)) == [*names, "logit.dense.kernel", "logit.dense.bias", "logit.dense_2.kernel"]
    assert weights(b)["logit.dense.kernel"].attrs["init"] == Initializer("glorot_uniform")
    assert weights(b)["logit.dense.bias"].attrs["init"] == Initializer("zeros")


def test_mlp_has_its_activation_on_the_last_layer_unless_told():
    b = build()
    x = value(b, "x", None, 6)
    assert call("mlp", b, x, [4, 3]).op == "relu"
    assert call("mlp", b, x, [4, 3], last="linear").op == "linear"
    assert call("mlp", b, x, [4, 3], activation="tanh").op == "tanh"
    assert "relu" in refused("mlp", b, x, [4], activation="rellu").help
    refused("mlp", b, x, [])
    refused("dense", b, x, 0)


def test_dropout_scales_what_stays_in_training_and_nothing_else():
    b = build()
    x = value(b, "x", None, 3)
    y = call("dropout", b, x, 0.25)
    (random,) = [n for n in b.graph if n.op == "random"]
    feeds = {"x": np.ones((2, 3)), random.id: np.array([[0.1, 0.25, 0.9], [0.2, 0.3, 0.0]])}
    np.testing.assert_allclose(evaluate(b.graph, feeds, [y.id])[0], np.array([[0, 1, 1], [0, 1, 0]]) / 0.75)
    np.testing.assert_allclose(evaluate(b.graph, feeds, [y.id], training=False)[0], feeds["x"])
    assert call("dropout", b, x, 0.0) is x
    assert len({call("dropout", b, x, 0.5).id, call("dropout", b, x, 0.5).id}) == 2
    refused("dropout", b, x, 1.0)


@needs_keras
def test_layer_norm_is_that_of_keras():
    from keras import layers

    b = build()
    y = call("layer_norm", b, value(b, "x", None, 4))
    feeds = feeds_for(b, x=RNG.normal(size=(5, 4)))
    layer = layers.LayerNormalization(epsilon=1e-3, dtype="float64")
    layer.build((None, 4))
    layer.set_weights([feeds["layer_norm.gamma"], feeds["layer_norm.beta"]])
    np.testing.assert_allclose(evaluate(b.graph, feeds, [y.id])[0], layer(feeds["x"]), rtol=1e-6)


@needs_keras
@pytest.mark.parametrize("sizes", [(4,), (3, 4)])
def test_batch_norm_is_that_of_keras(sizes):
    keras()
    from keras import layers

    b = build()
    y = call("batch_norm", b, value(b, "x", None, *sizes), momentum=0.875)
    feeds = feeds_for(b, x=RNG.normal(2, 3, size=(50, *sizes)))
    names = [f"batch_norm.{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    feeds[names[3]] = np.abs(feeds[names[3]])
    layer = layers.BatchNormalization(momentum=0.875, dtype="float64")
    layer.build((None, *sizes))
    layer.set_weights([feeds[name] for name in names])
    plain = evaluate(b.graph, feeds, [y.id], training=False)[0]
    np.testing.assert_allclose(plain, layer(feeds["x"], training=False), rtol=1e-6, atol=1e-9)
    assert [name for name, _ in b.assigns] == names[2:]
    trained, *running = evaluate(b.graph, feeds, [y.id, *(node for _, node in b.assigns)])
    np.testing.assert_allclose(trained, layer(feeds["x"], training=True), rtol=1e-6, atol=1e-9)
    for mine, other in zip(running, layer.get_weights()[2:], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)
    assert [weights(b)[name].attrs["trainable"] for name in names] == [True, True, False, False]


def test_gradients_flow_through_the_statistics_of_the_batch():
    b = build()
    x = value(b, "x", None, 2)
    y = call("square", b, call("batch_norm", b, x))
    feeds = feeds_for(b, x=RNG.normal(size=(5, 2)))
    (g,) = gradients(b, y, [x])
    np.testing.assert_allclose(
        evaluate(b.graph, feeds, [g.id])[0], differences(b.graph, feeds, y, x), atol=1e-6
    )


# --- tables ------------------------------------------------------------------------------------------------


def test_embed_reads_ids_adds_up_many_and_scales_numbers():
    b = build()
    fields = [feature(b, "U", "id", 6), feature(b, "G", "ids", 4), feature(b, "age", "number")]
    with b.within(scope=("a", "e")):
        e = call("embed", b, fields, 2)
        mean = call("embed", b, fields[1], 2, combiner="mean")
    assert str(e.type) == "[field 3, 2]" and str(mean.type) == "[2]"
    feeds = feeds_for(
        b,
        U=np.array([5, 0], np.int32),
        G=np.array([[1, 1, 3], [2, -1, -1]], np.int32),
        age=np.array([[2.0], [-1.0]]),
    )
    found, averaged = evaluate(b.graph, feeds, [e.id, mean.id])
    u, g, age = feeds["a.e.U"], feeds["a.e.G"], feeds["a.e.age"]
    np.testing.assert_allclose(found[0], [u[5], 2 * g[1] + g[3], 2 * age])
    np.testing.assert_allclose(found[1], [u[0], g[2], -age])
    again = feeds["a.e.G_2"]
    np.testing.assert_allclose(averaged, [(2 * again[1] + again[3]) / 3, again[2]])
    assert weights(b)["a.e.U"].attrs["table"] and not weights(b)["a.e.age"].attrs["table"]
    assert weights(b)["a.e.U"].attrs["init"] == Initializer("uniform", 0.05)


def test_no_ids_at_all_give_zeros():
    b = build()
    nodes = [call("embed", b, feature(b, c, "ids", 4), 2, combiner=c).id for c in ("sum", "mean")]
    feeds = feeds_for(b, sum=np.full((1, 2), -1, np.int32), mean=np.full((1, 2), -1, np.int32))
    for found in evaluate(b.graph, feeds, nodes):
        assert not found.any()


def test_a_table_is_shared_where_it_is_passed():
    b = build()
    items = call("table", b, 6, 2)
    fields = [feature(b, "seen", "ids", 6), feature(b, "item", "id", 5)]
    call("embed", b, fields, 2, table=items)
    assert list(weights(b)) == ["table"]
    assert str(call("lookup", b, items, fields[1]).type) == "[2]"
    refused("embed", b, feature(b, "many", "id", 7), 2, table=items)
    refused("embed", b, fields, 3, table=items)
    refused("lookup", b, items, value(b, "x", None, 1))
    refused("embed", b, call("relu", b, value(b, "y", None, 1)), 2)
    refused("embed", b, [], 2)
    refused("embed", b, fields, 2, combiner="max")


def test_one_hot_counts_many_ids():
    b = build()
    one, many = feature(b, "one", "id", 3), feature(b, "many", "ids", 3)
    nodes = [call("one_hot", b, one).id, call("one_hot", b, many).id]
    feeds = {"one": np.array([2], np.int32), "many": np.array([[0, 0, -1]], np.int32)}
    first, second = evaluate(b.graph, feeds, nodes)
    assert first.tolist() == [[0, 0, 1]] and second.tolist() == [[2, 0, 0]]
