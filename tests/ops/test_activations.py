"""Small shares: the reference keeps their digits, not only those of 1, as onnxruntime's own sigmoid does."""

from __future__ import annotations

import numpy as np
from op_testing import build, evaluate, value


def test_sigmoid_is_right_in_its_tail() -> None:
    b = build()
    y = b.op("sigmoid", value(b, "x", None, 1))
    x = np.array([[-700.0], [-40.0], [-20.0], [-3.0], [0.0], [800.0]])
    (found,) = evaluate(b.graph, {"x": x}, [y.id])
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-x.astype(np.longdouble))).astype(float), rtol=1e-13)
