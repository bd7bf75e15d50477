"""Every op of the registry: one test a property, over all samples of all ops."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from op_testing import differences, evaluate, gradients, run_keras, run_onnx, sample_case

from vflc.ir.graph import Node
from vflc.ops import FUNCTIONS, OPS
from vflc.ops.mode import RESOLVED
from vflc.ops.source import INPUTS

LOWERED = [name for name in OPS if name not in INPUTS | RESOLVED]
CASES = [pytest.param(name, s, id=f"{name}-{i}") for name in LOWERED for i, s in enumerate(OPS[name].samples)]
STOPPING = {"stop_gradient"}
"""Ops through which no gradient flows although they are not constant: that is what they are for."""
KINDS = {"float": "f", "int": "i", "bool": "b"}
needs_keras = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed"
)


@pytest.fixture
def case(op, sample):
    seed = sum(map(ord, op)) + len(sample.types)
    return sample_case(op, sample, np.random.default_rng(seed))


def close(actual, expected, tolerance):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def test_every_op_and_function_is_documented():
    for op in OPS.values():
        assert op.doc.endswith(".") and len(op.doc) > 10, op.name
    for function in FUNCTIONS.values():
        assert function.doc and len(function.doc) > 10, function.name


def test_every_lowered_op_has_samples_and_a_gradient_rule():
    for name in LOWERED:
        assert OPS[name].samples, name
        assert OPS[name].vjp is not None, name


@pytest.mark.parametrize(("op", "sample"), CASES)
def test_onnx_agrees_with_the_reference_and_with_the_shape_rule(case):
    (expected,) = evaluate(case.graph, case.feeds, [case.node.id])
    for double in (False, True):
        (actual,) = run_onnx(case.graph, case.feeds, [case.node.id], double)
        assert actual.shape == np.shape(expected)
        assert actual.ndim == case.node.type.rank
        for size, axis in zip(actual.shape, case.node.type.axes, strict=True):
            assert axis.size in (None, size)
        assert actual.dtype.kind == KINDS[case.node.type.dtype]
        if case.node.type.dtype == "float":
            assert actual.dtype == (np.float64 if double else np.float32)
        close(actual, expected, 1e-12 if double else 2e-5)


@needs_keras
@pytest.mark.parametrize(("op", "sample"), CASES)
def test_keras_agrees_with_the_reference(case):
    """As does the functional model of symbolic tensors, whose batch is unknown."""
    import keras

    (expected,) = evaluate(case.graph, case.feeds, [case.node.id])
    (actual,) = run_keras(case.graph, case.feeds, [case.node.id])
    assert tuple(actual.shape) == np.shape(expected)
    assert (
        str(np.asarray(actual).dtype)
        == {"float": "float64", "int": "int32", "bool": "bool"}[case.node.type.dtype]
    )
    close(np.asarray(actual), expected, 1e-12)
    if not case.inputs:
        return
    dtypes = {"float": "float64", "int": "int32", "bool": "bool"}
    tensors = {
        x.id: keras.Input(batch_shape=x.type.sizes, dtype=dtypes[x.type.dtype], name=x.id)
        for x in case.inputs
    }
    (output,) = run_keras(case.graph, case.feeds, [case.node.id], tensors)
    model = keras.Model(tensors, output)
    close(np.asarray(model(case.feeds)), expected, 1e-12)


@pytest.mark.parametrize(("op", "sample"), CASES)
def test_gradient_agrees_with_finite_differences(case):
    """Of a weighted sum of the output, so that gradients of all its elements differ.

    No gradient flows through values that are not numbers, whatever is made of them.
    """
    b, node = case.build, case.node
    if node.type.dtype != "float":
        node = b.op("cast", node, dtype="float")
    shape = np.shape(evaluate(case.graph, case.feeds, [node.id])[0])
    case.feeds["weights"] = np.random.default_rng(1).uniform(0.5, 1.5, shape)
    output = b.op("mul", node, b.graph.add(Node("weights", "feature", (), {}, node.type)))
    floats = [x for x in case.inputs if x.type.dtype == "float"]
    found = gradients(b, output, floats)
    for x, g in zip(floats, found, strict=True):
        slopes = differences(case.graph, case.feeds, output, x)
        if g is None:
            assert node.op in STOPPING or not slopes.any(), f"no gradient for input {x.id}"
            continue
        assert g.type.sizes == x.type.sizes
        (actual,) = evaluate(b.graph, case.feeds, [g.id])
        assert actual.shape == case.feeds[x.id].shape
        close(actual, slopes, 2e-7)
