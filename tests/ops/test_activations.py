"""Small shares: float64 keeps their digits, not only those of 1."""

from __future__ import annotations

import numpy as np
import pytest
from op_testing import build, evaluate, run_onnx, value


@pytest.mark.parametrize("by", ["reference", "onnx"])
def test_sigmoid_is_right_in_its_tail(by: str) -> None:
    """onnxruntime's own is wrong there by 1e-16 of 1, which Adam makes 1e-9 of if gradients are small."""
    b = build()
    y = b.op("sigmoid", value(b, "x", None, 1))
    x = np.array([[-700.0], [-40.0], [-20.0], [-3.0], [0.0], [800.0]])
    feeds = {"x": x}
    (found,) = (
        evaluate(b.graph, feeds, [y.id]) if by == "reference" else run_onnx(b.graph, feeds, [y.id], True)
    )
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-x.astype(np.longdouble))).astype(float), rtol=1e-13)
