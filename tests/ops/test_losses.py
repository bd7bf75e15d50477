"""Losses and penalties: values, gradients, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from op_testing import (
    build,
    call,
    evaluate,
    feature,
    gradients,
    keras,
    onnx_model,
    run_onnx,
    value,
)
from test_functions import RNG, feeds_for, needs_keras, refused, weights

from vflc.ir.build import Initializer
from vflc.ir.types import Axis


@needs_keras
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("name", "loss", "options"),
    [
        ("bce", "BinaryCrossentropy", {}),
        ("mse", "MeanSquaredError", {}),
        ("mae", "MeanAbsoluteError", {}),
        ("huber", "Huber", {"delta": 0.75}),
        ("focal", "BinaryFocalCrossentropy", {"gamma": 1.5}),
        ("hinge", "Hinge", {}),
    ],
)
def test_losses_are_those_of_keras(name, loss, options, weighted):
    keras()
    from keras import losses

    b = build()
    x, y, w = value(b, "x", None, 1), feature(b, "y", "number", op="label"), value(b, "w", None, 1)
    node = call(name, b, x, y, weight=w if weighted else None, **options)
    feeds = {"x": RNG.normal(0, 3, (6, 1)), "w": RNG.uniform(size=(6, 1))}
    feeds["y"] = RNG.integers(0, 2, (6, 1)).astype(float)
    if name in ("bce", "focal"):
        options = {**options, "from_logits": True}
    expected = getattr(losses, loss)(**options, dtype="float64")(
        feeds["y"], feeds["x"], sample_weight=feeds["w"] if weighted else None
    )
    np.testing.assert_allclose(evaluate(b.graph, feeds, [node.id])[0], expected, rtol=1e-7)
    assert str(node.type) == "[] (once)"
    (term,) = b.losses
    assert (term.node_id, term.kind, term.logit_id, term.label_id) == (node.id, name, "x", "y")


def test_losses_are_what_they_are_defined_as():
    b = build()
    x, y = value(b, "x", None, 1), feature(b, "y", "number", op="label")
    z, t = RNG.normal(0, 3, (9, 1)), RNG.integers(0, 2, (9, 1)).astype(float)
    p = 1 / (1 + np.exp(-z))
    right = np.where(t == 1, p, 1 - p)
    balanced = np.where(t == 1, 0.25, 0.75) * (1 - right) ** 3 * -np.log(right)
    wanted = {
        "focal": (balanced, {"gamma": 3.0, "alpha": 0.25}),
        "poisson": (np.exp(z) - t * z, {}),
        "quantile": (np.where(t > z, 0.8 * (t - z), 0.2 * (z - t)), {"q": 0.8}),
    }
    for name, (terms, options) in wanted.items():
        node = call(name, b, x, y, **options)
        np.testing.assert_allclose(
            evaluate(b.graph, {"x": z, "y": t}, [node.id])[0], terms.mean(), rtol=1e-12
        )


@pytest.mark.parametrize("name", ["focal", "hinge"])
def test_losses_of_classes_are_finite_far_out_and_their_slope_has_the_sign_of_the_label(name):
    """As the analysis says of what its gradient tells: 0, or the label's sign."""
    b = build()
    x, y = value(b, "x", None, 1), feature(b, "y", "number", op="label")
    node = call(name, b, x, y)
    (g,) = gradients(b, node, [x])
    feeds = {"x": np.array([[700.0], [-700.0], [700.0], [-700.0], [0.3], [-2.0], [0.1]])}
    feeds["y"] = np.array([[0.0], [0.0], [1.0], [1.0], [1.0], [1.0], [0.0]])
    for double in (False, True):
        loss, slopes = run_onnx(b.graph, feeds, [node.id, g.id], double)
        assert np.isfinite(loss) and np.isfinite(slopes).all()
        assert (slopes[4:, 0] * (1 - 2 * feeds["y"][4:, 0]) > 0).all()
        assert (slopes[:, 0] * (1 - 2 * feeds["y"][:, 0]) >= 0).all()


@needs_keras
def test_cce_is_that_of_keras_for_classes_and_for_shares():
    keras()
    from keras import losses

    b = build()
    z, y, shares = value(b, "z", None, 3), feature(b, "y", "id", 3, op="label"), value(b, "s", None, 3)
    feeds = {"z": RNG.normal(0, 4, (5, 3)), "y": np.array([0, 1, 2, 1, 0], np.int32)}
    feeds["s"] = RNG.dirichlet([1, 1, 1], 5)
    by_class, by_share = evaluate(b.graph, feeds, [call("cce", b, z, y).id, call("cce", b, z, shares).id])
    expected = losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")(feeds["y"], feeds["z"])
    np.testing.assert_allclose(by_class, expected, rtol=1e-7)
    expected = losses.CategoricalCrossentropy(from_logits=True, dtype="float64")(feeds["s"], feeds["z"])
    np.testing.assert_allclose(by_share, expected, rtol=1e-7)


@pytest.mark.parametrize("kind", ["class", "shares"])
@pytest.mark.parametrize("scale", [1e4, -1e4, 1.0])
def test_cce_is_finite_and_exact_far_out(kind, scale):
    """Also where a strange evaluator takes the logarithm of a softmax that is 0."""
    from onnx.reference import ReferenceEvaluator

    b = build()
    z, given = value(b, "z", None, 3), feature(b, "y", "id", 3, op="label")
    y = given if kind == "class" else b.op("one_hot", given, depth=3)
    node = call("cce", b, z, y)
    (g,) = gradients(b, node, [z])
    logits = scale * np.array([[1.0, 0.0, -1.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    ids = np.array([1, 1, 2], np.int32)
    shifted = logits - logits.max(1, keepdims=True)
    shares = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(3), ids]
    slopes = (shares - np.eye(3)[ids]) / 3
    for double in (False, True):
        model = onnx_model(b.graph, {"z": logits, "y": ids}, [node.id, g.id], double)
        feeds = {"z": logits.astype("d" if double else "f"), "y": ids}
        found = ReferenceEvaluator(model).run(None, feeds)
        for each in (found, run_onnx(b.graph, {"z": logits, "y": ids}, [node.id, g.id], double)):
            np.testing.assert_allclose(each[0], losses.mean(), rtol=1e-6)
            np.testing.assert_allclose(each[1], slopes, atol=1e-6)


def test_cce_of_a_class_that_an_infinite_logit_rules_out():
    """A logit of minus infinity is a class that cannot be: it costs the others nothing."""
    b = build()
    z, y = value(b, "z", None, 3), feature(b, "y", "id", 3, op="label")
    node = call("cce", b, z, y)
    feeds = {"z": np.array([[0.0, 1.0, -np.inf]]), "y": np.array([1], np.int32)}
    wanted = np.log(1 + np.exp(-1.0))
    np.testing.assert_allclose(evaluate(b.graph, feeds, [node.id])[0], wanted)
    np.testing.assert_allclose(run_onnx(b.graph, feeds, [node.id], True)[0], wanted)


def test_bce_is_finite_and_exact_far_out():
    b = build()
    x, y = value(b, "x", None, 1), feature(b, "y", "number", op="label")
    node = call("bce", b, x, y)
    (g,) = gradients(b, node, [x])
    feeds = {"x": np.array([[800.0], [-800.0], [30.0]]), "y": np.array([[0.0], [0.0], [1.0]])}
    for double in (False, True):
        loss, slopes = run_onnx(b.graph, feeds, [node.id, g.id], double)
        np.testing.assert_allclose(loss, 800 / 3, rtol=1e-6)
        np.testing.assert_allclose(slopes, [[1 / 3], [0], [0]], atol=1e-6)


def test_losses_refuse_labels_that_do_not_fit():
    b = build()
    z, three = value(b, "z", None, 2), feature(b, "y", "id", 3, op="label")
    assert "dense(x, 3)" in refused("cce", b, z, three).help
    refused("bce", b, value(b, "x", None, 1), three)
    refused("mse", b, z, feature(b, "n", "number", op="label"))
    refused("huber", b, z, z, delta=0.0)
    refused("quantile", b, z, z, q=1.0)
    refused("focal", b, z, z, gamma=-1.0)
    refused("focal", b, z, z, alpha=1.0)
    assert "cce" in refused("hinge", b, value(b, "x1", None, 1), three).help
    assert "vocab" in refused("cce", b, z, feature(b, "m", "number", op="label")).help


def test_a_label_of_two_classes_serves_bce():
    b = build()
    node = call("bce", b, value(b, "x", None, 1), feature(b, "y", "id", 2, op="label"))
    feeds = {"x": np.zeros((2, 1)), "y": np.array([0, 1], np.int32)}
    np.testing.assert_allclose(evaluate(b.graph, feeds, [node.id])[0], np.log(2))


def test_a_penalty_may_be_nothing():
    b = build()
    w = call("weight", b, 3)
    feeds = feeds_for(b)
    assert evaluate(b.graph, feeds, [call("l2", b, 0.0, w).id, call("l1", b, 0.0, w).id]) == [0.0, 0.0]
    refused("l2", b, -1.0, w)


def test_penalties_take_each_touched_row_once():
    b = build()
    fields = [feature(b, "U", "id", 6), feature(b, "G", "ids", 4)]
    with b.within(scope=("e",)):
        e = call("embed", b, fields, 2)
    call("embed", b, fields[0], 2, table=weights(b)["e.U"])
    call("dense", b, call("flatten", b, e), 1, bias=False)
    u, g, kernel = (weights(b)[n] for n in ("e.U", "e.G", "dense.kernel"))
    l2, l1 = call("l2", b, 0.5, [u, g], kernel), call("l1", b, 0.5, u)
    feeds = feeds_for(b, U=np.array([5, 5, 0], np.int32), G=np.array([[1, 1], [2, -1], [-1, -1]], np.int32))
    found = evaluate(b.graph, feeds, [l2.id, l1.id])
    rows_u, rows_g = feeds["e.U"][[0, 5]], feeds["e.G"][[1, 2]]
    squares = sum((x**2).sum() for x in (rows_u, rows_g, feeds[kernel.id]))
    np.testing.assert_allclose(found, [0.25 * squares, 0.5 * np.abs(rows_u).sum()])
    assert [term.kind for term in b.losses] == ["l2", "l1"]


def test_the_gradient_of_a_penalty_reaches_touched_rows_only():
    b = build()
    with b.within(scope=("e",)):
        call("embed", b, feature(b, "U", "id", 4), 2)
        table = weights(b)["e.U"]
        penalty = call("l2", b, 2.0, table)
    (g,) = gradients(b, penalty, [table])
    assert g.op == "rows"
    feeds = feeds_for(b, U=np.array([3, 1, 3], np.int32))
    (found,) = evaluate(b.graph, feeds, [g.id])
    expected = np.where(np.isin(np.arange(4), [1, 3])[:, None], 2 * feeds["e.U"], 0)
    np.testing.assert_allclose(found, expected)


def test_a_table_that_nobody_reads_is_penalised_whole():
    b = build()
    table = b.weight("t", (Axis("row", 3), Axis(None, 2)), Initializer("zeros"), table=True)
    (found,) = evaluate(b.graph, {"t": np.ones((3, 2))}, [call("l2", b, 2.0, table).id])
    assert found == 6
    refused("l2", b, 1.0)
    refused("l2", b, -1.0, table)
    refused("l1", b, 1.0, call("square", b, table))


def test_classes_are_one_for_each_row():
    b = build()
    logits = value(b, "z", None, 3)
    refused("cce", b, logits, feature(b, "several", "ids", 3, "label"))
    refused("cce", b, logits, feature(b, "more", "id", 4, "label"))
    assert str(call("cce", b, logits, feature(b, "one", "id", 3, "label")).type) == "[] (once)"


@pytest.mark.parametrize(("momentum", "fits"), [(0.0, True), (1.0, True), (-0.01, False), (1.01, False)])
def test_a_running_mean_has_a_momentum_between_0_and_1(momentum, fits):
    b = build()
    x = value(b, "x", None, 3)
    if fits:
        assert call("batch_norm", b, x, None, momentum).type == x.type
    else:
        assert refused("batch_norm", b, x, None, momentum).code == "VFL0205"
