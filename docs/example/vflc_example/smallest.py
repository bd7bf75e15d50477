"""The smallest value over an axis: an op of the graph, and the function that makes it."""

from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ops.kinds import AxisName
from vflc.ops.parts import Parts, reducing
from vflc.ops.reduce import SAMPLES, infer_reduce, keras_reduce, onnx_reduce, reference_reduce, vjp_max
from vflc.ops.registry import Op, function, register
from vflc.ops.structure import reduced
from vflc.ops.traits import MASK, same
from vflc.ops.users import no_batch

register(
    Op(
        name="smallest",
        doc="The smallest value over axes; equal ones share the gradient.",
        infer=infer_reduce("smallest"),
        onnx=onnx_reduce("ReduceMin"),
        keras=keras_reduce("min"),
        reference=reference_reduce("min"),
        vjp=vjp_max,  # of whatever input equals the output
        samples=SAMPLES,
        slopes=MASK,  # its derivative is 0 or above, and differs from row to row
        bounds=same,  # the output lies where the input does
        axes=("axes",),  # a static argument that counts axes
        parts=Parts(along=reducing, reduces="min"),  # of pieces of an axis: the least of their least
        users=no_batch,  # many users at once: along the same axes, but for the batch
    )
)


@function
def smallest(b: Build, x: Node, axis: AxisName | None = None) -> Node:
    """The smallest value over an axis, or over all axes of a row: [1]."""
    return reduced(b, "smallest", x, axis)
