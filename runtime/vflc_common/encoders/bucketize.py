"""Ids of ranges of numbers."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from vflc_common.encoder import NUMBER, Encoder, EncoderParameter, EncoderSettings, Python, Suits
from vflc_common.encoding import UNKNOWN, of_numbers
from vflc_common.numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vflc_common.backends import KerasBuilder, OnnxBuilder


def wrong(settings: EncoderSettings, kind: str) -> str | None:
    grow = all(a < b for a, b in pairwise(settings["edges"]))
    return None if grow else "the edges of `bucketize` must be increasing numbers"


def ranges(settings: EncoderSettings) -> list[str]:
    """Of `bucketize(18, 25)`: `<18`, `18..25`, `>=25`."""
    edges = [f"{edge:g}" for edge in settings["edges"]]
    return [f"<{edges[0]}", *(f"{low}..{high}" for low, high in pairwise(edges)), f">={edges[-1]}"]


def of_block(x: NDArray[np.float64], settings: EncoderSettings) -> NDArray[Any]:
    """How many edges are at most each number [n]."""
    return np.searchsorted(np.asarray(settings["edges"], np.float64), x, side="right")


def bucketize(value: float, step: EncoderSettings) -> int:
    """How many edges are at most the value."""
    return sum(edge <= float(value) for edge in step["edges"])


def onnx(g: OnnxBuilder, value: str, settings: EncoderSettings) -> str:
    """How many edges are at most the value; of a missing one an id that no table has."""
    column = g("Unsqueeze", value, g.constant([-1], "int64"))
    passed = g("GreaterOrEqual", column, g.constant(settings["edges"]))
    found = g("ReduceSum", g("Cast", passed, to=7), g.constant([-1], "int64"), keepdims=0)
    return g("Where", g("IsNaN", value), g.constant(UNKNOWN, "int64"), found)


def keras(k: KerasBuilder, value: Any, settings: EncoderSettings) -> Any:
    """Keras's layer rounds to float32, which moves no whole number past such an edge, but fractions."""
    edges, ops = [float(edge) for edge in settings["edges"]], k.ops
    if k.raw.type == "int" and all(edge.is_integer() and abs(edge) < 2**24 for edge in edges):
        name = k.name("discretization")
        found = k.layers.Discretization(bin_boundaries=edges, name=name, dtype="float64")(value)
    else:
        passed = ops.greater_equal(ops.expand_dims(value, -1), k.constant(edges, "float64"))
        found = ops.sum(ops.cast(passed, "int32"), axis=-1)
    return ops.where(ops.isnan(value), k.constant(UNKNOWN, "int32"), ops.cast(found, "int32"))


ENCODER = Encoder(
    name="bucketize",
    doc="The number of increasing `edges` at or below the value, as in Keras's `Discretization`: "
    "an id from 0 to the number of edges.",
    step="how many edges are not greater than the number",
    reads=("int", "float"),
    gives="id",
    parameters=(EncoderParameter("edges", NUMBER, needed=True, many=True),),
    wrong=wrong,
    python=Python(bucketize),
    encode=of_numbers(of_block),
    codes=lambda settings: len(settings["edges"]) + 1,
    classes=ranges,
    suits=lambda settings: Suits(anchors=list(settings["edges"])),
    onnx=onnx,
    keras=keras,
    known_as={"bucket buckets bin bins discretize cut": "write bucketize(18, 25, 35)"},
)
