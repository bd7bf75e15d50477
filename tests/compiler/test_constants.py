"""Equal constants are one node, but for those that are equal only by ==."""

from __future__ import annotations

from vflc.ir.build import Build
from vflc.ir.graph import Graph
from vflc.ops import infer


def test_zero_and_negative_zero_are_two_constants() -> None:
    """1 / 0 is not 1 / −0; predictions had one of them for both."""
    b = Build(Graph(), infer, place="alice")
    assert b.constant(0.0) is b.constant(0.0) is b.constant(0)
    assert b.constant(-0.0) is b.constant(-0.0) is not b.constant(0.0)
    assert b.constant((1.0, -0.0)) is b.constant((1, -0.0)) is not b.constant((1.0, 0.0))
    assert b.constant(1.0) is b.constant(1) and b.constant(1.0, "int") is not b.constant(1.0)
