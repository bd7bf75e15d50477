"""Which ONNX files are used as a piece of a model, and what such a file takes and gives for a row.

What is run may come from anybody. It is a function of its inputs and nothing else: no operator reads files,
draws chance, repeats or branches, calls code that onnxruntime does not come with, or has a result whose
shape its numbers decide.
"""

from __future__ import annotations

from msgspec import Struct

from vflc_common.onnx_file import FileModel, WirePort, read_onnx
from vflc_common.onnx_tensors import FileTensor
from vflc_common.onnx_wire import OnnxFileError

MOST_BYTES = 1 << 30
"""Of a file."""
MOST_VALUES = 1 << 24
"""Of a row, in an input or output."""
FED = frozenset({"float16", "float32", "float64", "int32", "int64"})
"""Element types of inputs and outputs: a run converts numbers to and from them."""
OLDEST = 9
"""Version of ONNX's operators; older ones of some say themselves whether they run in training."""
_WORDS = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitShift
    BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Concat Constant
    ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Det Div
    Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather
    GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
    GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Hardmax Identity
    InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxRoiPool Mean
    MeanVarianceNormalization Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul
    QuantizeLinear RNN Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence
    RMSNormalization Round ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice
    Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu
    Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
"""
ALLOWED = frozenset(_WORDS.split())
"""Operators of the default domain that a file may have."""
_INSTEAD = {
    **dict.fromkeys(("If", "Loop", "Scan"), "export the model without branches and loops"),
    **dict.fromkeys(
        (
            "RandomNormal",
            "RandomNormalLike",
            "RandomUniform",
            "RandomUniformLike",
            "Bernoulli",
            "Multinomial",
        ),
        "export the model for inference: what it gives may depend on its inputs alone",
    ),
}


class RowPort(Struct, frozen=True):
    """An input or output: what a row has of it, `sizes`, after the axis of the batch."""

    name: str
    element: str
    sizes: tuple[int, ...]


class RowSignature(Struct, frozen=True):
    """What a file takes and gives."""

    inputs: tuple[RowPort, ...]
    outputs: tuple[RowPort, ...]


def usable(content: bytes) -> tuple[FileModel, RowSignature]:
    """The model in a file's bytes, and what it takes and gives.

    Raises:
        OnnxFileError: there is no whole one, or it may not be used.
    """
    if len(content) > MOST_BYTES:
        raise OnnxFileError(f"it is larger than {MOST_BYTES >> 20} MiB")
    model = read_onnx(content)
    _check_parts(model)
    inputs = tuple(_port(value, "input") for value in model.inputs)
    outputs = tuple(_port(value, "output") for value in model.outputs)
    if not inputs or not outputs:
        raise OnnxFileError(f"it has no {'outputs' if inputs else 'inputs'}", "shapes")
    return model, RowSignature(inputs, outputs)


def _check_parts(model: FileModel) -> None:
    """Refuses what is no plain graph of known operators over numbers that lie in the file."""
    if model.opset < OLDEST:
        help = f"export it with opset_version={OLDEST} or newer"
        raise OnnxFileError(f"it uses version {model.opset} of ONNX's operators", "parts", help)
    if model.more:
        raise OnnxFileError(f"it has {model.more[0]}", "parts", "export it as a plain graph")
    for tensor in model.tensors.values():
        _check_tensor(tensor, f"its tensor `{tensor.name}`")
    for node in model.nodes:
        if node.domain:
            help = "export it with the operators of ONNX alone"
            raise OnnxFileError(f"its operator `{node.op}` is of the domain `{node.domain}`", "parts", help)
        training = node.op == "Dropout" and len(node.inputs) > 2 and bool(node.inputs[2])
        if training or node.attributes.get("training_mode"):
            help = "export the model for inference"
            raise OnnxFileError(f"its operator `{node.op}` is one of training", "parts", help)
        if node.op not in ALLOWED:
            text = f"its operator `{node.op}` is not allowed"
            raise OnnxFileError(text, "parts", _INSTEAD.get(node.op))
        for name, what in node.odd.items():
            text = f"the attribute `{name}` of its operator `{node.op}` is {what}"
            raise OnnxFileError(text, "parts")
        for value in node.attributes.values():
            if isinstance(value, FileTensor):
                _check_tensor(value, f"a constant of its operator `{node.op}`")


def _check_tensor(tensor: FileTensor, shown: str) -> None:
    if tensor.outside is not None:
        help = "save it in one file: onnx.save(onnx.load(FILE), FILE)"
        raise OnnxFileError(f"{shown} lies in another file", "parts", help)
    if tensor.element == "string":
        raise OnnxFileError(f"{shown} is not of numbers", "parts")


def _port(value: WirePort, what: str) -> RowPort:
    """An input or output whose first axis is the batch and whose other sizes are fixed."""
    shown = f"its {what} `{value.name}`"
    if value.element not in FED:
        raise OnnxFileError(f"{shown} is of {value.element}", "shapes", f"it takes {', '.join(sorted(FED))}")
    dims = value.dims
    if not dims:
        raise OnnxFileError(f"{shown} has no axis for the rows of a batch", "shapes")
    if isinstance(dims[0], int):
        help = "export it with an open first axis: dynamic_axes, dynamic_shapes, or shape=(None, …)"
        raise OnnxFileError(f"{shown} is for batches of {dims[0]} rows alone", "shapes", help)
    sizes = tuple(size for size in dims[1:] if isinstance(size, int) and size > 0)
    if len(sizes) < len(dims) - 1:
        shape = ", ".join("?" if size is None else str(size) for size in dims)
        help = "fix the sizes of a row when it is exported; onnx.shape_inference may find those of outputs"
        raise OnnxFileError(f"{shown} of shape [{shape}] has other open sizes than the batch", "shapes", help)
    count = 1
    for size in sizes:
        count *= size
    if count > MOST_VALUES:
        raise OnnxFileError(f"{shown} has more than {MOST_VALUES:,} numbers a row", "shapes")
    return RowPort(value.name, value.element, sizes)
