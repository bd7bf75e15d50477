"""ONNX's operators with weights, in layers of the language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vflc.onnx_file import Numbers
from vflc.translation import columns
from vflc.translation.graph import AxisSizes, Value, binary, number, reduce, reshape, stack
from vflc.translation.onnx_call import NodeCall
from vflc.translation.onnx_ops import join
from vflc.translation.onnx_shapes import positions
from vflc.translation.onnx_values import AGAIN, ALONG, MOST_MOVED, NodeValue, OnnxConstant, ShapeSizes


def gemm(call: NodeCall) -> Value:
    """A fully connected layer."""
    call.only(alpha=1.0, beta=1.0, transA=0)
    kernel = call.input(1)
    if not isinstance(kernel, OnnxConstant) or kernel.numbers.rank != 2:
        call.fail("multiplies by a value that is not a weight")
    if call.attr("transB", 0):
        kernel = kernel.changed(kernel.numbers.transposed(), "T")
    made, bias = call.model.dense(call.node, call.row(), kernel), call.input(2)
    if bias is None or (isinstance(bias, OnnxConstant) and call.model.give_bias(made, bias)):
        return made
    return join(call, "add", made, call.value(2))


def matmul(call: NodeCall) -> Value:
    x, y = call.input(0), call.input(1)
    if isinstance(x, OnnxConstant):
        call.fail("multiplies a weight by the rows from the left", "write it as x @ weight")
    if isinstance(y, OnnxConstant):
        if len(y.shape) == 1:
            column = y.changed(y.numbers.reshaped((*y.shape, 1)), "column")
            made = call.model.dense(call.node, call.row(), column)
            return reshape(made, made.shape[:-1], call.name)
        if len(y.shape) != 2:
            call.fail(f"multiplies by a weight of {len(y.shape)} axes")
        return call.model.dense(call.node, call.row(), y)
    a, b = call.row(0), call.row(1)
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] != b.shape[0]:
        call.fail(f"multiplies {list(a.shape)} and {list(b.shape)} of different rows", ALONG, "VFL0703")
    return Value("matmul", (a, b), (a.shape[0], b.shape[1]), {}, call.name)


def gather(call: NodeCall) -> NodeValue:
    """Rows of a table by ids; positions of a value; one of the sizes of a shape."""
    from vflc.translation.onnx_shapes import whole

    data, axis = call.input(0), call.attr("axis", 0)
    if isinstance(data, ShapeSizes):
        at, count = call.required(1), len(data.sizes)
        if not at.whole or not all(-count <= i < count for i in at.elements):
            call.fail("takes sizes that the shape does not have", AGAIN, "VFL0707")
        return whole([data.sizes[i] for i in at.elements], alone=at.rank == 0)
    if isinstance(data, OnnxConstant):
        if len(data.shape) != 2 or axis != 0 or not data.numbers.floats:
            call.fail(f"looks ids up in a weight of {len(data.shape)} axes, along axis {axis}")
        return _embedding(call, data)
    x = data if isinstance(data, Value) and data.op in ("raw", "raws") else call.row()
    return positions(call, x, axis)


def _embedding(call: NodeCall, table: OnnxConstant) -> Value:
    found = call.input(1)
    if isinstance(found, Value) and found.op == "raws":
        tables = call.model.tables(found, table)
        made = [
            call.model.embed(call.node, each, own) for each, own in zip(found.inputs, tables, strict=True)
        ]
        return stack([reshape(each, each.shape[-1:], call.name) for each in made], 0, call.name)
    if not isinstance(found, Value) or found.op != "raw":
        call.fail("looks up ids that the model computes", "let it read an input, or a column of one")
    return call.model.embed(call.node, found, table)


def batch_norm(call: NodeCall) -> Value:
    if call.attr("training_mode", 0) and len([each for each in call.node.outputs if each]) > 3:
        call.fail("gives its statistics as outputs", "export it in eval mode: model.eval()")
    x, names = call.row(), ("gamma", "beta", "moving_mean", "moving_variance")
    if len(x.shape) != 1:
        call.fail("normalizes along an axis that is not the last", "use BatchNorm1d on [batch, features]")
    attrs = {"epsilon": call.attr("epsilon", 1e-5), "momentum": call.attr("momentum", 0.9)}
    return _normalised(call, "batch_norm", x, names, attrs)


def layer_norm(call: NodeCall) -> Value:
    x = call.row()
    if call.axis(call.attr("axis", -1), len(x.shape) + 1) != len(x.shape) - 1:
        call.fail("normalizes over several axes", "normalize along the last axis")
    if call.input(1) is None or call.input(2) is None:
        return _without_weights(call, x)
    return _normalised(call, "layer_norm", x, ("gamma", "beta"), {"epsilon": call.attr("epsilon", 1e-5)})


def _without_weights(call: NodeCall, x: Value) -> Value:
    last = (len(x.shape) - 1,)
    centred = binary("sub", x, reduce("mean", x, last, True, call.name), call.name)
    squares = binary("pow", centred, number(2), call.name)
    variance = binary(
        "add", reduce("mean", squares, last, True, call.name), number(call.attr("epsilon", 1e-5)), call.name
    )
    made = binary("div", centred, Value("sqrt", (variance,), variance.shape, {}, call.name), call.name)
    made = made if call.input(1) is None else binary("mul", made, call.value(1), call.name)
    return made if call.input(2) is None else binary("add", made, call.value(2), call.name)


def _normalised(call: NodeCall, op: str, x: Value, parts: tuple[str, ...], attrs: dict[str, Any]) -> Value:
    held = {}
    given = [call.input(index) for index in range(1, len(parts) + 1)]
    for part, constant in zip(parts, given, strict=True):
        if not isinstance(constant, OnnxConstant) or constant.shape != x.shape[-1:]:
            call.fail(f"has a {part} that is no weight of {list(x.shape[-1:])}", AGAIN, "VFL0707")
        held[part] = constant
    return call.model.layer(call.node, Value(op, (x,), x.shape, attrs), held)


def dropout(call: NodeCall) -> Value:
    """In a file that was exported for training alone; otherwise it is left out."""
    training, ratio = call.constant(2), call.number(1, 0.5)
    x = call.input(0)
    if not isinstance(x, Value) or x.op == "raw":
        x = call.value(0)
    if training is None or not any(training.elements) or not ratio:
        return x
    return Value("dropout", (x,), x.shape, {"rate": ratio}, call.name)


def one_hot(call: NodeCall) -> Value:
    depth, values, found = call.required(1), call.required(2), call.input(0)
    if depth.size != 1 or not 1 <= int(depth.elements[0]) <= 1_000_000 or list(values.elements) != [0, 1]:
        call.fail("does not give 1 at the id and 0 elsewhere")
    if not isinstance(found, Value) or found.op != "raw" or found.shape not in ((), (1,)):
        call.fail("takes ids that are no column", "let it read an input")
    n = int(depth.elements[0])
    made = Value("one_hot", (columns.ids(found, n, call.name),), (n,), {"depth": n}, call.name)
    call.axis(call.attr("axis", -1), len(found.shape) + 2)
    return made if found.shape == () else reshape(made, (1, n), call.name)


def einsum(call: NodeCall) -> Value:
    """Two values by products and a sum, whose axes come in one order; or a layer."""
    equation = call.attr("equation", "").replace(" ", "")
    inputs, _, output = equation.partition("->")
    terms = inputs.split(",")
    letters = all(t.isalpha() and t.isascii() and len(set(t)) == len(t) for t in [*terms, output])
    if len(terms) != 2 or not output or not letters:
        call.fail(f"computes {equation[:40]!r}")
    if any(isinstance(each, OnnxConstant) for each in call.inputs):
        return _einsum_layer(call, terms, output)
    x, y = call.row(0), call.row(1)
    if any(len(t) != len(v.shape) + 1 for t, v in zip(terms, (x, y), strict=True)):
        call.fail(f"computes {equation[:40]!r} of values of other axes", AGAIN, "VFL0707")
    if len({t[0] for t in [*terms, output]}) != 1:
        call.fail(f"computes {equation[:40]!r}, in which rows meet other rows", ALONG, "VFL0703")
    order = _order([t[1:] for t in [*terms, output]])
    if order is None:
        call.fail(f"computes {equation[:40]!r}, which puts axes in another order")
    a, b = (reshape(v, _spread(t[1:], order, v.shape), call.name) for t, v in zip(terms, (x, y), strict=True))
    product = join(call, "mul", a, b)
    summed = [i for i, letter in enumerate(order) if letter not in output]
    return reduce("sum", product, summed, False, call.name) if summed else product


def _einsum_layer(call: NodeCall, terms: list[str], output: str) -> Value:
    """`bi,io->bo` and `bi,oi->bo`."""
    at = 0 if isinstance(call.input(0), OnnxConstant) else 1
    kernel, (k, x) = call.input(at), (terms[at], terms[1 - at])
    if (
        not isinstance(kernel, OnnxConstant)
        or len(k) != 2
        or x[-1:] not in k
        or output != x[:-1] + k.replace(x[-1], "")
    ):
        call.fail(f"computes {','.join(terms)}->{output} of a weight")
    kernel = kernel if k[0] == x[-1] else kernel.changed(kernel.numbers.transposed(), "T")
    return call.model.dense(call.node, call.row(1 - at), kernel)


def _order(terms: list[str]) -> str | None:
    """All letters, in an order that each term keeps; None where there is none."""
    left, order = [list(t) for t in terms], ""
    while any(left):
        first = next((t[0] for t in left if t and not any(t[0] in other[1:] for other in left)), None)
        if first is None:
            return None
        order += first
        left = [t[1:] if t and t[0] == first else t for t in left]
    return order


def _spread(term: str, order: str, shape: AxisSizes) -> AxisSizes:
    sizes = dict(zip(term, shape, strict=True))
    return tuple(sizes.get(letter, 1) for letter in order)


PLAIN: dict[str, Any] = {"value_float": 0.0, "value_floats": [], "value_int": 0, "value_ints": []}


def constant(call: NodeCall) -> NodeValue:
    attrs = call.node.attrs
    for name in PLAIN:
        if name in attrs:
            kind = "float32" if "float" in name else "int64"
            value = call.attr(name, PLAIN[name])
            shape, listed = ((len(value),), value) if isinstance(value, list) else ((), [value])
            return OnnxConstant(Numbers.listed(kind, shape, listed))
    if not isinstance(attrs.get("value"), Numbers):
        call.fail("holds no numbers")
    call.model.room += MOST_MOVED * attrs["value"].size
    return OnnxConstant(attrs["value"])


LAYERS: dict[str, Callable[[NodeCall], NodeValue]] = {
    "Gemm": gemm,
    "MatMul": matmul,
    "Gather": gather,
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "Dropout": dropout,
    "OneHot": one_hot,
    "Einsum": einsum,
    "Constant": constant,
}
