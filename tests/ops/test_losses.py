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


def test_losses_that_rank_and_contrast_are_what_they_are_defined_as():
    b = build()
    u, v, w = (value(b, name, None, 3) for name in "uvw")
    many = value(b, "many", None, ("negative", 2), 3)
    feeds = {name: RNG.normal(0, 1, (5, 3)) for name in "uvw"} | {"many": RNG.normal(0, 1, (5, 2, 3))}
    own = (feeds["u"] * feeds["v"]).sum(1)
    other = (feeds["u"][:, None] * feeds["many"]).sum(2)
    every = feeds["u"] @ feeds["v"].T
    turned = [np.roll(feeds["v"], -i, 0) for i in (1, 2)]
    far = np.square(feeds["u"] - feeds["w"]).sum(1)
    near = np.square(feeds["u"] - feeds["v"]).sum(1)
    row = np.stack([(feeds["u"] * each).sum(1) for each in turned], 1)

    def nce(own, others, temperature=1.0):
        z = np.concatenate([own[:, None], others], 1) / temperature
        return (np.log(np.exp(z).sum(1)) - z[:, 0]).mean()

    scores = call("dot", b, u, v), call("dot", b, u, w)
    beside = call("sampled", b, v, 2)
    off = ~np.eye(5, dtype=bool)
    wanted = [
        (call("bpr", b, *scores), np.log1p(np.exp((feeds["u"] * feeds["w"]).sum(1) - own)).mean()),
        (call("triplet", b, u, v, w, margin=0.5), np.maximum(near - far + 0.5, 0).mean()),
        (call("info_nce", b, u, v, many, temperature=0.5), nce(own, other, 0.5)),
        (call("info_nce", b, u, v, w), nce(own, (feeds["u"] * feeds["w"]).sum(1)[:, None])),
        (call("info_nce", b, u, v, temperature=2.0), nce(own, every[off].reshape(5, 4), 2.0)),
        (call("info_nce", b, u, v, beside), nce(own, row)),
    ]
    for node, expected in wanted:
        np.testing.assert_allclose(evaluate(b.graph, feeds, [node.id])[0], expected, rtol=1e-12)
    assert all(term.label_id is None for term in b.losses)


def test_gaussian_nll_is_that_of_scipy_s_normal_distribution():
    b = build()
    x, s = value(b, "x", None, 1), value(b, "s", None, 1)
    node = call("gaussian_nll", b, x, s, feature(b, "y", "number", op="label"))
    feeds = {"x": RNG.normal(0, 2, (6, 1)), "s": RNG.uniform(0.1, 3, (6, 1)), "y": RNG.normal(0, 2, (6, 1))}
    density = np.exp(-((feeds["x"] - feeds["y"]) ** 2) / (2 * feeds["s"])) / np.sqrt(2 * np.pi * feeds["s"])
    wanted = -np.log(density).mean() - np.log(2 * np.pi) / 2
    np.testing.assert_allclose(evaluate(b.graph, feeds, [node.id])[0], wanted, rtol=1e-12)
    feeds = {"x": np.full((1, 1), 1e4), "s": np.zeros((1, 1)), "y": np.zeros((1, 1))}
    g = gradients(b, node, [x, s])
    found = run_onnx(b.graph, feeds, [node.id, *(each.id for each in g)], False)
    assert all(np.isfinite(each).all() for each in found)


def test_ordinal_is_the_share_of_the_class_between_its_thresholds():
    b = build()
    z, y = value(b, "z", None, 1), feature(b, "y", "id", 4, op="label")
    with b.within(scope=("cuts",)):
        cuts = call("thresholds", b, 4)
    shares, node = call("class_shares", b, z, cuts), call("ordinal", b, z, y, cuts)
    feeds = {"z": RNG.normal(0, 2, (8, 1)), "y": np.arange(8, dtype=np.int32) % 4}
    feeds["cuts.thresholds"] = np.array([0.3, -1.0, 2.0])
    found, by_class, loss = evaluate(b.graph, feeds, [cuts.id, shares.id, node.id])
    assert (np.diff(found) > 1e-3).all()
    upto = 1 / (1 + np.exp(feeds["z"] - found))
    expected = np.diff(np.concatenate([np.zeros((8, 1)), upto, np.ones((8, 1))], 1), axis=1)
    np.testing.assert_allclose(by_class, expected, rtol=1e-9)
    wanted = -np.log(expected[np.arange(8), feeds["y"]]).mean()
    np.testing.assert_allclose(loss, wanted, rtol=1e-9)
    start = {**feeds, "cuts.thresholds": np.zeros(3)}
    np.testing.assert_allclose(evaluate(b.graph, start, [cuts.id])[0].mean(), 0, atol=1e-12)
    two = call("ordinal", b, z, feature(b, "of_two", "id", 2, op="label"), call("thresholds", b, 2))
    bits = feeds["y"] % 2
    bce = call("bce", b, z, feature(b, "bit", "number", op="label"))
    feeds |= {"of_two": bits, "bit": bits[:, None].astype(float), "thresholds": np.zeros(1)}
    np.testing.assert_allclose(*evaluate(b.graph, feeds, [two.id, bce.id]))


@pytest.mark.parametrize("name", ["ordinal", "bpr", "triplet", "info_nce", "info_nce of some"])
def test_other_losses_are_finite_far_out(name):
    b = build()
    x, y = value(b, "x", None, 1), feature(b, "y", "id", 3, op="label")
    u, v = value(b, "u", None, 2), value(b, "v", None, 2)
    far = np.array([[1e4], [-1e4], [1e4], [-1e4]])
    feeds = {"x": far, "y": np.array([0, 2, 1, 0], np.int32), "u": far * [[1, 1]], "v": far[::-1] * [[1, -1]]}
    if name == "ordinal":
        node, wanted = call(name, b, x, y, call("thresholds", b, 3)), [x]
        feeds["thresholds"] = np.array([0.0, -50.0])
    else:
        others = {"bpr": [call("dot", b, u, u), x], "info_nce": [u, v]}
        given = others.get(name, [u, v, call("sampled", b, u, 3)])
        node, wanted = call(name.split()[0], b, *given), [u]
    (g,) = gradients(b, node, wanted)
    for double in (False, True):
        for each in run_onnx(b.graph, feeds, [node.id, g.id], double):
            assert np.isfinite(each).all()


@pytest.mark.parametrize("rows", [1, 2])
def test_a_row_that_meets_itself_teaches_nothing(rows):
    """A batch of a row, as the last of an epoch may be, has no other row."""
    b = build()
    u, v = value(b, "u", None, 2), value(b, "v", None, 2)
    feeds = {"u": RNG.normal(0, 1, (rows, 2)), "v": RNG.normal(0, 1, (rows, 2))}
    node = call("info_nce", b, u, v)
    g = gradients(b, node, [u, v])
    loss, *slopes = run_onnx(b.graph, feeds, [node.id, *(each.id for each in g)], True)
    if rows == 1:
        assert loss == 0 and not any(each.any() for each in slopes)
    else:
        assert loss > 0 and all(each.any() for each in slopes)


@pytest.mark.parametrize("name", ["bce", "cce"])
def test_smoothing_spreads_part_of_a_label_over_all_classes(name):
    b = build()
    classes = 1 if name == "bce" else 3
    z = value(b, "z", None, classes)
    y = feature(b, "y", "number" if name == "bce" else "id", None if name == "bce" else 3, op="label")
    bits = RNG.integers(0, 2 if name == "bce" else 3, 6)
    feeds = {"z": RNG.normal(0, 3, (6, classes))}
    feeds["y"] = bits[:, None].astype(float) if name == "bce" else bits.astype(np.int32)
    shares = value(b, "shares", None, classes)
    feeds["shares"] = 0.9 * (feeds["y"] if name == "bce" else np.eye(3)[bits]) + 0.1 / max(classes, 2)
    found = [call(name, b, z, y, smoothing=0.1), call(name, b, z, shares), call(name, b, z, y)]
    smooth, by_hand, plain = evaluate(b.graph, feeds, [node.id for node in found])
    np.testing.assert_allclose(smooth, by_hand, rtol=1e-9)
    assert abs(smooth - plain) > 1e-9
    for wrong in (-0.1, 1.0):
        assert refused(name, b, z, y, smoothing=wrong).code == "VFL0205"


def test_losses_refuse_what_they_cannot_compare():
    b = build()
    x, u, v = value(b, "x", None, 1), value(b, "u", None, 3), value(b, "v", None, 2)
    y, weight = feature(b, "y", "id", 3, op="label"), call("thresholds", b, 3)
    assert "thresholds(3)" in refused("ordinal", b, x, y, call("thresholds", b, 4)).help
    assert "vocab" in refused("ordinal", b, x, feature(b, "n", "number", op="label"), weight).help
    refused("ordinal", b, u, y, call("thresholds", b, 3))
    refused("thresholds", b, 1)
    refused("bpr", b, u, x)
    refused("triplet", b, u, v, u)
    assert refused("triplet", b, u, u, u, margin=0.0).code == "VFL0205"
    refused("info_nce", b, u, v)
    assert refused("info_nce", b, u, u, temperature=0.0).code == "VFL0205"
    assert refused("sampled", b, u, 0).code == "VFL0205"
    refused("gaussian_nll", b, x, u, feature(b, "m", "number", op="label"))
