"""What an ONNX graph computes of constants alone: computed once, in bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vflc.importing.onnx_values import AGAIN, NodeCall, OnnxConstant

MOST = 1 << 28
"""Numbers that a constant may be computed to have; weights themselves are bounded by their file."""


def folded(call: NodeCall) -> list[OnnxConstant] | None:
    """Outputs of a node that reads constants alone; None where this is not done for its operator."""
    op = call.node.op
    if op not in LAYOUT and op not in COMPUTED:
        return None
    given = [each for each in call.inputs if each is not None]
    if not given or not all(isinstance(each, OnnxConstant) for each in given):
        return None
    arrays = [each.array for each in given if isinstance(each, OnnxConstant)]
    from vflc_common.numpy import np

    try:
        with np.errstate(all="ignore"):
            made = (LAYOUT.get(op) or COMPUTED[op])(call, *arrays)
    except (ValueError, TypeError, IndexError, OverflowError, MemoryError, ZeroDivisionError):
        call.fail("cannot be computed of its constants", AGAIN, "VFL0707")
    first = given[0]
    if op in LAYOUT and isinstance(first, OnnxConstant):
        return [first.changed(made, op)]
    return [OnnxConstant(np.asarray(made))]


def _transpose(call: NodeCall, x: Any) -> Any:
    return x.transpose(call.node.attrs.get("perm"))


def _reshape(call: NodeCall, x: Any, sizes: Any) -> Any:
    copied = not call.attr("allowzero", 0)
    return x.reshape([x.shape[i] if n == 0 and copied else int(n) for i, n in enumerate(sizes)])


def _axes(call: NodeCall) -> tuple[int, ...] | None:
    found = call.whole(1, "axes")
    return None if found is None else tuple(found)


def _unsqueeze(call: NodeCall, x: Any, *axes: Any) -> Any:
    from vflc_common.numpy import np

    return np.expand_dims(x, _axes(call) or ())


def _squeeze(call: NodeCall, x: Any, *axes: Any) -> Any:
    return x.squeeze(_axes(call))


def _cast(call: NodeCall, x: Any) -> Any:
    from vflc.onnx_file.tensors import TYPES

    kind = TYPES.get(call.attr("to", 1), "string")
    if kind == "string" or x.dtype.kind == "O":
        call.fail("turns numbers into text, or text into numbers")
    return x.astype(kind)


def _concat(call: NodeCall, *arrays: Any) -> Any:
    from vflc_common.numpy import np

    return np.concatenate(arrays, call.attr("axis", 0))


def _expand(call: NodeCall, x: Any, sizes: Any) -> Any:
    from vflc_common.numpy import np

    shape = np.broadcast_shapes(x.shape, tuple(int(n) for n in sizes))
    return np.broadcast_to(x, _bounded(call, shape))


def _bounded(call: NodeCall, shape: tuple[int, ...]) -> tuple[int, ...]:
    from math import prod

    if prod(shape) > MOST:
        call.fail(f"makes a constant of {prod(shape):,} numbers", AGAIN, "VFL0707")
    return shape


def _range(call: NodeCall, start: Any, stop: Any, step: Any) -> Any:
    from vflc_common.numpy import np

    start, stop, step = (each.reshape(-1)[0].item() for each in (start, stop, step))
    _bounded(call, (max(0, int((stop - start) / step)) + 1,))
    return np.arange(start, stop, step)


def _slice(call: NodeCall, x: Any, *rest: Any) -> Any:
    starts, stops = call.whole(1, "starts") or [], call.whole(2, "ends") or []
    axes = call.whole(3, "axes") or list(range(len(starts)))
    steps = call.whole(4, "steps") or [1] * len(starts)
    keys = [slice(None)] * x.ndim
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        keys[axis] = slice(start, stop, step)
    return x[tuple(keys)]


def _gather(call: NodeCall, x: Any, at: Any) -> Any:
    axis = call.attr("axis", 0)
    _bounded(call, (x.size // max(1, x.shape[axis]), at.size))
    return x.take(at, axis)


def _binary(name: str) -> Callable[..., Any]:
    def made(call: NodeCall, x: Any, y: Any) -> Any:
        from vflc_common.numpy import np

        _bounded(call, np.broadcast_shapes(x.shape, y.shape))
        whole = name == "divide" and x.dtype.kind in "iu" and y.dtype.kind in "iu"
        return getattr(np, "floor_divide" if whole else name)(x, y)

    return made


def _unary(name: str) -> Callable[..., Any]:
    def made(call: NodeCall, x: Any) -> Any:
        from vflc_common.numpy import np

        return getattr(np, name)(x)

    return made


LAYOUT: dict[str, Callable[..., Any]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Cast": _cast,
    "Identity": lambda call, x: x,
}
"""The same numbers, in other axes or of another type: a weight stays the weight that it was."""
COMPUTED: dict[str, Callable[..., Any]] = {
    "Concat": _concat,
    "Expand": _expand,
    "Range": _range,
    "Slice": _slice,
    "Gather": _gather,
    **{
        op: _binary(name)
        for op, name in (
            ("Add", "add"), ("Sub", "subtract"), ("Mul", "multiply"), ("Div", "divide"), ("Pow", "power"),
            ("Max", "maximum"), ("Min", "minimum"), ("Equal", "equal"),
        )
    },
    "Neg": _unary("negative"),
    "Sqrt": _unary("sqrt"),
    "Exp": _unary("exp"),
    "Abs": _unary("absolute"),
    "Where": lambda call, c, x, y: _where(call, c, x, y),
}  # fmt: skip


def _where(call: NodeCall, condition: Any, x: Any, y: Any) -> Any:
    from vflc_common.numpy import np

    _bounded(call, np.broadcast_shapes(condition.shape, x.shape, y.shape))
    return np.where(condition, x, y)
