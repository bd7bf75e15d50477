"""A model that another tool made and that runs as it is: an arbitrary function of all rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops.registry import Attrs, Op, OpError, register
from vflc.ops.source import fed
from vflc.ops.traits import ANY


def infer_outside(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    """The output number `output` of `model`: numbers, as many axes a row as the file says, at least one."""
    check_sizes(types, attrs["model"].inputs)
    return TensorType((ROWS, *_axes(attrs["model"].outputs[attrs["output"]])))


def check_sizes(types: Sequence[TensorType], inputs: Sequence[tuple[int, ...]]) -> None:
    """Refuses values that are not numbers of these sizes a row; OpError."""
    for number, (type_, sizes) in enumerate(zip(types, inputs, strict=True), 1):
        found = tuple(axis.size for axis in type_.row_axes)
        if not type_.batched or type_.dtype != "float" or found != (sizes or (1,)):
            shown = ", ".join(map(str, sizes or (1,)))
            which = f"input {number}" if len(types) > 1 else "the input"
            help = None
            if type_.batched and type_.row_size == TensorType(_axes(sizes)).row_size:
                help = f"give it the shape first: reshape(x, {shown})"
            raise OpError(f"{which} must be [{shown}]; this is {type_}", help)


def _axes(sizes: tuple[int, ...]) -> tuple[Axis, ...]:
    return tuple(Axis(None, size) for size in sizes or (1,))


register(
    Op(
        "onnx", "What an ONNX file gives for a batch, run as it is: an arbitrary function of all its rows.",
        infer_outside, fed, fed, fed, None, slopes=ANY, mixes_rows=True,
    )
)  # fmt: skip
