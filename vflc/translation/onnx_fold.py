"""What an ONNX graph computes of constants alone: computed once, in bounds, in Python alone."""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import ceil, copysign, exp, inf, nan, prod, sqrt
from typing import Any

from vflc_common.onnx_tensors import ELEMENTS

from vflc.onnx_file.numbers import Numbers, broadcast, joined
from vflc.translation.onnx_call import NodeCall
from vflc.translation.onnx_values import AGAIN, OnnxConstant


def folded(call: NodeCall) -> list[OnnxConstant] | None:
    """Outputs of a node that reads constants alone; None where this is not done for its operator."""
    op = call.node.op
    if op not in LAYOUT and op not in COMPUTED:
        return None
    given = [each for each in call.inputs if each is not None]
    constants = [each for each in given if isinstance(each, OnnxConstant)]
    if not constants or len(constants) < len(given):
        return None
    try:
        made = (LAYOUT.get(op) or COMPUTED[op])(call, *(each.numbers for each in constants))
    except (ValueError, TypeError, IndexError, OverflowError, MemoryError, ZeroDivisionError):
        call.fail("cannot be computed of its constants", AGAIN, "VFL0707")
    return [constants[0].changed(made, op) if op in LAYOUT else OnnxConstant(made)]


def _bounded(call: NodeCall, shape: tuple[int, ...]) -> tuple[int, ...]:
    call.model.room -= prod(shape)
    if call.model.room < 0:
        call.fail(f"makes a constant of {prod(shape):,} numbers", AGAIN, "VFL0707")
    return shape


# --- the same numbers in other axes -------------------------------------------------------------------


def _transpose(call: NodeCall, x: Numbers) -> Numbers:
    _bounded(call, x.shape)
    return x.transposed(call.node.attrs.get("perm"))


def _reshape(call: NodeCall, x: Numbers, sizes: Numbers) -> Numbers:
    copied = not call.attr("allowzero", 0)
    return x.reshaped([x.shape[i] if n == 0 and copied else int(n) for i, n in enumerate(sizes.elements)])


def _axes(call: NodeCall, rank: int) -> list[int] | None:
    found = call.whole(1, "axes")
    return None if found is None else [range(rank)[axis] for axis in found]


def _unsqueeze(call: NodeCall, x: Numbers, *axes: Numbers) -> Numbers:
    rank = x.rank + len(call.whole(1, "axes") or ())
    wanted, given = set(_axes(call, rank) or ()), iter(x.shape)
    if len(wanted) != rank - x.rank:
        raise ValueError("an axis twice")
    return x.reshaped([1 if axis in wanted else next(given) for axis in range(rank)])


def _squeeze(call: NodeCall, x: Numbers, *axes: Numbers) -> Numbers:
    dropped = _axes(call, x.rank)
    if dropped is None:
        dropped = [axis for axis, size in enumerate(x.shape) if size == 1]
    if any(x.shape[axis] != 1 for axis in dropped):
        raise ValueError("an axis whose size is not 1")
    return x.reshaped([size for axis, size in enumerate(x.shape) if axis not in dropped])


def _cast(call: NodeCall, x: Numbers) -> Numbers:
    kind = ELEMENTS.get(call.attr("to", 1), "string")
    if "string" in (kind, x.kind):
        call.fail("turns numbers into text, or text into numbers")
    _bounded(call, x.shape)
    return x.cast(kind)


LAYOUT: dict[str, Callable[..., Numbers]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Cast": _cast,
    "Identity": lambda call, x: x,
}
"""The same numbers, in other axes or of another type: a weight stays the weight that it was."""

# --- other numbers ------------------------------------------------------------------------------------


def _concat(call: NodeCall, *parts: Numbers) -> Numbers:
    made = joined(parts, call.attr("axis", 0))
    _bounded(call, made.shape)
    return made


def _expand(call: NodeCall, x: Numbers, sizes: Numbers) -> Numbers:
    return x.repeated(_bounded(call, broadcast(x.shape, [int(n) for n in sizes.elements])))


def _range(call: NodeCall, start: Numbers, stop: Numbers, step: Numbers) -> Numbers:
    first, last, by = (each.elements[0] for each in (start, stop, step))
    (count,) = _bounded(call, (max(0, ceil((last - first) / by)),))
    return Numbers.listed(start.kind, (count,), (first + index * by for index in range(count)))


def _slice(call: NodeCall, x: Numbers, *rest: Numbers) -> Numbers:
    starts, stops = call.whole(1, "starts") or [], call.whole(2, "ends") or []
    axes = call.whole(3, "axes") or list(range(len(starts)))
    steps = call.whole(4, "steps") or [1] * len(starts)
    parts = [slice(None)] * x.rank
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        parts[axis] = slice(start, stop, step)
    made = x.sliced(parts)
    _bounded(call, made.shape)
    return made


def _gather(call: NodeCall, x: Numbers, at: Numbers) -> Numbers:
    axis = call.attr("axis", 0)
    _bounded(call, (x.size // max(1, x.shape[axis]), at.size))
    return x.taken(at, axis)


def _where(call: NodeCall, condition: Numbers, x: Numbers, y: Numbers) -> Numbers:
    return _each(call, lambda c, a, b: a if c else b, x.kind, condition, x, y)


def _each(call: NodeCall, compute: Callable[..., Any], kind: str, *given: Numbers) -> Numbers:
    """Element by element, with what has fewer axes repeated."""
    shape = _bounded(call, broadcast(*(each.shape for each in given)))
    whole = [each.elements if each.shape == shape else each.repeated(shape).elements for each in given]
    return Numbers.listed(kind, shape, map(compute, *whole))


def _binary(compute: Callable[[Any, Any], Any]) -> Callable[..., Numbers]:
    def made(call: NodeCall, x: Numbers, y: Numbers) -> Numbers:
        if (x.kind != y.kind and call.node.op != "Pow") or (x.kind == "string" and call.node.op != "Equal"):
            raise TypeError(f"{x.kind} with {y.kind}")
        return _each(call, compute, "bool" if call.node.op == "Equal" else x.kind, x, y)

    return made


def _unary(compute: Callable[[Any], Any]) -> Callable[..., Numbers]:
    def made(call: NodeCall, x: Numbers) -> Numbers:
        if x.kind == "string":
            raise TypeError("text")
        return _each(call, compute, x.kind, x)

    return made


def _divided(x: Any, y: Any) -> Any:
    """Floating-point numbers also by 0; whole ones towards 0."""
    if isinstance(x, int):
        return abs(x) // abs(y) * (-1 if (x < 0) != (y < 0) else 1)
    return x / y if y else x * copysign(inf, y)


def _power(x: Any, y: Any) -> Any:
    """`nan` and infinities where Python refuses, as arrays have them; whole numbers of 64 bits at most."""
    if isinstance(x, int) and abs(x) > 1 and y > 64:
        raise OverflowError
    try:
        found = x**y
    except ZeroDivisionError:
        return copysign(inf, x) if y % 2 == 1 else inf
    except OverflowError:
        return -inf if x < 0 and y % 2 == 1 else inf
    return nan if isinstance(found, complex) else found


def _exponential(x: float) -> float:
    try:
        return exp(x)
    except OverflowError:
        return inf


COMPUTED: dict[str, Callable[..., Numbers]] = {
    "Concat": _concat,
    "Expand": _expand,
    "Range": _range,
    "Slice": _slice,
    "Gather": _gather,
    "Where": _where,
    "Add": _binary(operator.add),
    "Sub": _binary(operator.sub),
    "Mul": _binary(operator.mul),
    "Div": _binary(_divided),
    "Pow": _binary(_power),
    "Max": _binary(lambda a, b: a if a > b or a != a else b),
    "Min": _binary(lambda a, b: a if a < b or a != a else b),
    "Equal": _binary(operator.eq),
    "Neg": _unary(operator.neg),
    "Sqrt": _unary(lambda a: sqrt(a) if a >= 0 else nan),
    "Exp": _unary(_exponential),
    "Abs": _unary(abs),
}
"""Other numbers, which are no weight of the file."""
