"""Where a function has a corner, gradients are TensorFlow's: checked against tf.GradientTape itself."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from op_testing import build, call, evaluate, gradients, keras, value

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed"
)

ROW = [-1.0, 0.0, 1.0, 2.0]
CASES = {
    "abs": (["abs"], {}, [ROW]),
    "relu": (["relu"], {}, [ROW]),
    "leaky_relu": (["leaky_relu"], {"alpha": 0.25}, [ROW]),
    "clip": (["clip"], {"low": 0.0, "high": 1.0}, [[*ROW, 0.5]]),
    "sqrt": (["sqrt"], {}, [[0.0, 4.0]]),
    "log": (["log"], {}, [[0.0, 2.0]]),
    "square": (["square"], {}, [ROW]),
    "softplus": (["softplus"], {}, [[-800.0, 0.0, 800.0]]),
    "gelu": (["gelu"], {}, [ROW]),
    "max": (["max"], {}, [[1.0, 2.0, 2.0, 0.0]]),
    "minimum": (["minimum"], {}, [[1.0, 2.0, 0.0], [1.0, 0.0, 2.0]]),
    "maximum": (["maximum"], {}, [[1.0, 2.0, 0.0], [1.0, 0.0, 2.0]]),
    "div": (["div", "divide"], {}, [[1.0, 0.0, 3.0], [0.0, 0.0, 2.0]]),
    "pow": (
        ["pow", "power"],
        {},
        [[0.0, 0.0, 2.0, -2.0, 0.0, 0.0, -2.0], [0.0, 2.0, 3.0, 2.0, 1.0, 0.5, 3.0]],
    ),
}


def tape(names, options, arrays):
    """The gradients that TensorFlow finds for the sum of the output."""
    ops = keras().ops
    import tensorflow as tf

    renamed = {"alpha": "negative_slope", "low": "x_min", "high": "x_max"}
    options = {renamed[k]: v for k, v in options.items()}
    if names == ["gelu"]:
        options["approximate"] = False
    variables = [tf.Variable(a, dtype=tf.float64) for a in arrays]
    with tf.GradientTape() as recorded:
        output = getattr(ops, names[-1])(*variables, **options)
    return [g.numpy() for g in recorded.gradient(output, variables)]


@pytest.mark.parametrize("name", CASES)
def test_gradient_in_the_corner_is_that_of_tensorflow(name):
    names, options, arrays = CASES[name]
    b = build()
    inputs = [value(b, f"x{i}", len(a)) for i, a in enumerate(arrays)]
    output = call(names[0], b, *inputs, **options)
    found = gradients(b, output, inputs)
    feeds = {x.id: np.array(a) for x, a in zip(inputs, arrays, strict=True)}
    with np.errstate(all="ignore"):
        actual = evaluate(b.graph, feeds, [g.id for g in found])
    for mine, other in zip(actual, tape(names, options, arrays), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6 if name == "gelu" else 1e-12)
