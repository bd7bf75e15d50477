"""ONNX's operators element by element and over axes, in operations of the language."""

from __future__ import annotations

from vflc_common.onnx_tensors import ELEMENTS

from vflc.translation.activations import activate
from vflc.translation.graph import Value, binary, number, reduce, unary
from vflc.translation.onnx_call import NodeCall, NodeReader
from vflc.translation.onnx_values import ALONG, NodeValue, OnnxConstant

BOOLEAN = {
    "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or",
    "logical_not",
}  # fmt: skip


def numeric(call: NodeCall, index: int = 0) -> Value:
    """An input as numbers: what is true is 1."""
    found = call.value(index)
    return where(found, number(1), number(0), call.name) if found.op in BOOLEAN else found


def where(condition: Value, x: Value, y: Value, layer: str) -> Value:
    shape = binary("add", binary("add", condition, x, layer), y, layer).shape
    return Value("where", (condition, x, y), shape, {}, layer)


def unary_op(op: str) -> NodeReader:
    return lambda call: unary(op, numeric(call), call.name)


def join(call: NodeCall, op: str, x: Value, y: Value) -> Value:
    """Two values, one of which may only have been repeated to the other's size."""
    for a, b in ((x, y), (y, x)):
        if a.op == "expand" and b.shape == a.shape and b.op != "expand":
            x, y = (a.inputs[0], b) if a is x else (b, a.inputs[0])
            break
    return binary(op, x, y, call.name)


def binary_op(op: str) -> NodeReader:
    def made(call: NodeCall) -> NodeValue:
        if (offset := call.model.offset(call.inputs, op)) is not None:
            return offset
        return join(call, op, numeric(call, 0), numeric(call, 1))

    return made


def several(op: str) -> NodeReader:
    def made(call: NodeCall) -> Value:
        total = numeric(call)
        for index in range(1, len(call.inputs)):
            total = join(call, op, total, numeric(call, index))
        return total

    return made


def mean(call: NodeCall) -> Value:
    return binary("div", several("add")(call), number(len(call.inputs)), call.name)  # type: ignore[arg-type]


def add(call: NodeCall) -> NodeValue:
    """A sum; of a product with a kernel and a vector, the layer with its bias."""
    for at, other in ((0, 1), (1, 0)):
        x, bias = call.input(at), call.input(other)
        if (
            isinstance(x, Value)
            and isinstance(bias, OnnxConstant)
            and call.model.takes_bias(call.node, at, x, bias)
        ):
            return x
    return binary_op("add")(call)


def power(call: NodeCall) -> Value:
    exponent = call.number(1) if isinstance(call.input(1), OnnxConstant) else None
    simple = {2: "square", 0.5: "sqrt"}.get(exponent) if exponent is not None else None
    if simple is not None:
        return unary(simple, numeric(call), call.name)
    return join(call, "pow", numeric(call, 0), numeric(call, 1))


def activation(name: str) -> NodeReader:
    return lambda call: activate(numeric(call), name, call.name)


def softmax(op: str) -> NodeReader:
    def made(call: NodeCall) -> Value:
        x = numeric(call)
        return unary(op, x, call.name, axis=call.axis(call.attr("axis", -1), len(x.shape) + 1))

    return made


def leaky_relu(call: NodeCall) -> Value:
    return unary("leaky_relu", numeric(call), call.name, alpha=call.attr("alpha", 0.01))


def elu(call: NodeCall) -> Value:
    call.only(alpha=1.0)
    return activate(numeric(call), "elu", call.name)


def selu(call: NodeCall) -> Value:
    alpha, gamma = call.attr("alpha", 1.6732632), call.attr("gamma", 1.0507009)
    if abs(alpha - 1.6732632) > 1e-5 or abs(gamma - 1.0507009) > 1e-5:
        call.fail(f"has alpha = {alpha} and gamma = {gamma}")
    return activate(numeric(call), "selu", call.name)


def hard_sigmoid(call: NodeCall) -> Value:
    slope = binary("mul", numeric(call), number(call.attr("alpha", 0.2)), call.name)
    return unary(
        "clip", binary("add", slope, number(call.attr("beta", 0.5)), call.name), call.name, low=0, high=1
    )


def hard_swish(call: NodeCall) -> Value:
    x = numeric(call)
    return binary("mul", x, activate(x, "hard_sigmoid", call.name), call.name)


def swish(call: NodeCall) -> Value:
    x, alpha = numeric(call), call.attr("alpha", 1.0)
    inner = x if alpha == 1 else binary("mul", x, number(alpha), call.name)
    return binary("mul", x, unary("sigmoid", inner, call.name), call.name)


def gelu(call: NodeCall) -> Value:
    x, kind = numeric(call), call.attr("approximate", "none")
    if kind == "none":
        return unary("gelu", x, call.name)
    if kind != "tanh":
        call.fail(f"has approximate = {kind[:20]!r}")
    cube = _times(call, number(0.044715), binary("pow", x, number(3), call.name))
    inner = _times(call, number(0.7978845608028654), binary("add", x, cube, call.name))
    share = binary("add", number(1), unary("tanh", inner, call.name), call.name)
    return _times(call, _times(call, number(0.5), x), share)


def _times(call: NodeCall, x: Value, y: Value) -> Value:
    return binary("mul", x, y, call.name)


def prelu(call: NodeCall) -> Value:
    """x above 0, and below a learned slope of it."""
    x = numeric(call)
    below = binary("minimum", x, number(0), call.name)
    return binary(
        "add", unary("relu", x, call.name), binary("mul", call.value(1), below, call.name), call.name
    )


def clip(call: NodeCall) -> Value:
    x = numeric(call)
    low, high = (
        call.attr(name, 0.0) if name in call.node.attrs else call.number(at)
        for at, name in ((1, "min"), (2, "max"))
    )
    if low is not None and high is not None:
        return unary("clip", x, call.name, low=low, high=high)
    x = x if low is None else binary("maximum", x, number(low), call.name)
    return x if high is None else binary("minimum", x, number(high), call.name)


def reciprocal(call: NodeCall) -> Value:
    return binary("div", number(1), numeric(call), call.name)


def ceil(call: NodeCall) -> Value:
    return unary("neg", unary("floor", unary("neg", numeric(call), call.name), call.name), call.name)


def where_op(call: NodeCall) -> Value:
    """`where`; torch's softplus, which is the value itself above a threshold, is softplus."""
    condition, x, y = (call.value(index) for index in range(3))
    if y.op == "softplus" and y.inputs[0] is x and condition.op == "greater" and condition.inputs[0] is x:
        return y
    return where(condition, x, y, call.name)


def cast(call: NodeCall) -> NodeValue:
    """To numbers; ids stay ids."""
    kind, found = ELEMENTS.get(call.attr("to", 1), "?"), call.input(0)
    if isinstance(found, Value) and found.op in ("raw", "raws") and kind in ("int32", "int64"):
        return found
    x = call.value(0)
    if x.op in BOOLEAN and kind == "bool":
        return x
    if kind not in ("float32", "float64"):
        call.fail(f"makes {kind} of computed values")
    return numeric(call)


def reduction(op: str) -> NodeReader:
    """Sums, means and the like over axes of a row."""

    def made(call: NodeCall) -> Value:
        x, axes = numeric(call), call.whole(1, "axes")
        if not axes and call.attr("noop_with_empty_axes", 0):
            return x
        if not axes:
            call.fail("reduces over the batch, too", ALONG, "VFL0703")
        found = sorted({call.axis(axis, len(x.shape) + 1) for axis in axes})
        return _reduced(call, op, x, found, bool(call.attr("keepdims", 1)))

    return made


def _reduced(call: NodeCall, op: str, x: Value, axes: list[int], keep: bool) -> Value:
    if op in ("sum", "mean", "max"):
        return reduce(op, x, axes, keep, call.name)
    if op == "min":
        return unary("neg", reduce("max", unary("neg", x, call.name), axes, keep, call.name), call.name)
    inner = unary({"l1": "abs", "l2": "square", "squares": "square"}[op], x, call.name)
    total = reduce("sum", inner, axes, keep, call.name)
    return unary("sqrt", total, call.name) if op == "l2" else total


UNARY = {
    "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Abs": "abs", "Sign": "sign", "Floor": "floor", "Cos": "cos",
    "Neg": "neg", "Erf": "erf", "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus",
}  # fmt: skip
BINARY = {
    "Sub": "sub", "Mul": "mul", "Div": "div", "Less": "less", "LessOrEqual": "less_equal",
    "Greater": "greater", "GreaterOrEqual": "greater_equal", "Equal": "equal", "And": "logical_and",
    "Or": "logical_or",
}  # fmt: skip
REDUCTIONS = {
    "ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min", "ReduceL1": "l1",
    "ReduceL2": "l2", "ReduceSumSquare": "squares",
}  # fmt: skip
OPS: dict[str, NodeReader] = {
    **{kind: unary_op(op) for kind, op in UNARY.items()},
    **{kind: binary_op(op) for kind, op in BINARY.items()},
    **{kind: reduction(op) for kind, op in REDUCTIONS.items()},
    "Not": lambda call: unary("logical_not", call.value(0), call.name),
    "Add": add,
    "Sum": several("add"),
    "Mean": mean,
    "Max": several("maximum"),
    "Min": several("minimum"),
    "Pow": power,
    "Softmax": softmax("softmax"),
    "LogSoftmax": softmax("log_softmax"),
    "LeakyRelu": leaky_relu,
    "Elu": elu,
    "Selu": selu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Swish": swish,
    "Mish": activation("mish"),
    "Softsign": activation("softsign"),
    "Gelu": gelu,
    "PRelu": prelu,
    "Clip": clip,
    "Reciprocal": reciprocal,
    "Ceil": ceil,
    "Where": where_op,
    "Cast": cast,
}
