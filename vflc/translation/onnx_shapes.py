"""ONNX's operators on axes, and what a graph computes with the sizes of shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from vflc.onnx_file import Numbers
from vflc.translation.graph import AxisSizes, Value, concat, number, part, reshape, stack
from vflc.translation.onnx_call import NodeCall
from vflc.translation.onnx_ops import numeric
from vflc.translation.onnx_values import AGAIN, ALONG, NodeValue, OnnxConstant, ShapeSizes


def shape(call: NodeCall) -> NodeValue:
    found = call.input(0)
    sizes: tuple[int | None, ...] = ()
    if isinstance(found, Value):
        sizes = (None, *found.shape)
    elif isinstance(found, OnnxConstant):
        sizes = found.shape
    start, stop = call.attr("start", 0), call.attr("end", len(sizes))
    return whole(sizes[start:stop])


def whole(sizes: Sequence[int | None], alone: bool = False) -> NodeValue:
    """ShapeSizes, as a constant where the batch's is not among them."""
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return ShapeSizes(tuple(sizes), alone)
    return OnnxConstant(
        Numbers.listed("int64", () if alone else (len(known),), known[:1] if alone else known)
    )


def sizes_of(call: NodeCall, index: int) -> tuple[int | None, ...]:
    """An input as the sizes of a shape."""
    found = call.input(index)
    if isinstance(found, ShapeSizes):
        return found.sizes
    listed = call.whole(index, "shape")
    if listed is None:
        call.fail("lacks the sizes that it makes", AGAIN, "VFL0707")
    return tuple(listed)


def reshaped(call: NodeCall) -> NodeValue:
    target, x = sizes_of(call, 1), call.input(0)
    if isinstance(x, Value) and x.op in ("raw", "raws") and not _same(call, x, target):
        x = None
    if isinstance(x, Value) and x.op in ("raw", "raws"):
        return x
    value = numeric(call)
    if not target or target.count(-1) > 1:
        call.fail(f"reshapes to {list(target)}", ALONG, "VFL0703")
    copied = not call.attr("allowzero", 0)
    rest = [
        value.shape[at - 1] if size == 0 and copied and 0 < at <= len(value.shape) else size
        for at, size in enumerate(target)
    ][1:]
    if None in rest:
        call.fail(f"reshapes to {_shown(target)}", ALONG, "VFL0703")
    return reshape(
        value, _row(call, value, target[0], tuple(int(n) for n in rest if n is not None)), call.name
    )


def _row(call: NodeCall, value: Value, first: int | None, rest: AxisSizes) -> AxisSizes:
    """The sizes of a row where a shape keeps the batch first."""
    if rest.count(-1) == 1:
        known = -prod(rest)
        rest = tuple(prod(value.shape) // known if n == -1 and known else n for n in rest)
    kept = first in (None, -1, call.model.batch) or (first == 0 and not call.attr("allowzero", 0))
    if not kept or prod(rest) != prod(value.shape):
        what = f"reshapes {_shown((None, *value.shape))} to {_shown((first, *rest))}, which mixes rows"
        call.fail(what, "keep the batch as the first axis, as in x.reshape(x.shape[0], -1)", "VFL0703")
    return rest


def _same(call: NodeCall, x: Value, target: Sequence[int | None]) -> bool:
    """Whether a shape leaves ids one for each row as they are."""
    if x.shape in ((), (1,)) and tuple(target) in ((-1,), (None,)):
        return True
    return (
        len(target) == len(x.shape) + 1
        and target[0] in (None, -1, 0, call.model.batch)
        and (tuple(target[1:]) == x.shape)
    )


def _shown(sizes: Sequence[int | None]) -> str:
    return f"[{', '.join('batch' if n is None else str(n) for n in sizes)}]"


def flatten(call: NodeCall) -> Value:
    x, axis = numeric(call), call.attr("axis", 1)
    at = call.axis(axis, len(x.shape) + 1) if axis < len(x.shape) + 1 else len(x.shape)
    if at != 0:
        call.fail(f"has axis = {axis}", "flatten from axis 1", "VFL0703")
    return reshape(x, (prod(x.shape),), call.name)


def unsqueeze(call: NodeCall) -> NodeValue:
    axes, found = call.whole(1, "axes") or [], call.input(0)
    if isinstance(found, ShapeSizes):
        return whole(found.sizes)
    if isinstance(found, Value) and found.op == "raw" and found.shape == () and axes in ([1], [-1]):
        return call.model.narrowed(found, (1,))
    x = numeric(call)
    rank = len(x.shape) + 1 + len(axes)
    wanted = {call.axis(axis, rank) for axis in axes}
    given = iter(x.shape)
    return reshape(x, tuple(1 if at in wanted else next(given) for at in range(rank - 1)), call.name)


def squeeze(call: NodeCall) -> NodeValue:
    axes, found = call.whole(1, "axes"), call.input(0)
    if isinstance(found, ShapeSizes):
        return whole(found.sizes, alone=True)
    raw = isinstance(found, Value) and found.op == "raw"
    x = found if isinstance(found, Value) and raw else numeric(call)
    if axes is None and call.model.batch == 1:
        call.fail(
            "drops the axis of the batch, which is 1 in the file", "name the axes: squeeze(1)", "VFL0703"
        )
    rank = len(x.shape) + 1
    at = (
        [call.axis(a, rank) for a in axes]
        if axes is not None
        else [i for i, n in enumerate(x.shape) if n == 1]
    )
    if any(x.shape[axis] != 1 for axis in at):
        call.fail("drops an axis whose size is not 1", AGAIN, "VFL0707")
    rest = tuple(n for i, n in enumerate(x.shape) if i not in at)
    return call.model.narrowed(x, rest) if raw else reshape(x, rest, call.name)


def joined(call: NodeCall) -> NodeValue:
    axis = call.attr("axis", 0)
    if any(isinstance(each, ShapeSizes) for each in call.inputs):
        return whole([n for index in range(len(call.inputs)) for n in sizes_of(call, index)])
    if call.model.all_ids(call.inputs) and axis in (1, -1):
        return call.model.raws([v for v in call.inputs if isinstance(v, Value)])
    values = [call.row(index) for index in range(len(call.inputs))]
    at = call.axis(axis, len(values[0].shape) + 1)
    if all(v.op == "reshape" and v.shape == _longer(v.inputs[0].shape, at) for v in values):
        return stack([v.inputs[0] for v in values], at, call.name)
    return concat([_whole_size(call, v) for v in values], at, call.name)


def _longer(shape: AxisSizes, at: int) -> AxisSizes:
    return (*shape[:at], 1, *shape[at:])


def _whole_size(call: NodeCall, value: Value) -> Value:
    """A value that is only repeated along an axis, with its copies."""
    if value.op != "expand":
        return value
    x, at = (
        value.inputs[0],
        [i for i, (a, b) in enumerate(zip(value.inputs[0].shape, value.shape, strict=True)) if a != b],
    )
    if len(at) != 1 or value.shape[at[0]] > 1000:
        call.fail("joins what is repeated along several axes")
    return concat([x] * value.shape[at[0]], at[0], call.name)


def expand(call: NodeCall) -> NodeValue:
    """A value repeated along axes of size 1: as it is where it meets the others, which repeat it."""
    target, x = sizes_of(call, 1), numeric(call)
    rest = tuple(target[1:])
    if len(target) != len(x.shape) + 1 or None in rest or target[0] not in (None, 1, -1, call.model.batch):
        call.fail(f"repeats {_shown((None, *x.shape))} to {_shown(target)}", ALONG, "VFL0703")
    sizes = tuple(a if b in (1, -1) else b for a, b in zip(x.shape, rest, strict=True) if b is not None)
    if any(a not in (1, b) for a, b in zip(x.shape, sizes, strict=True)):
        call.fail(f"repeats {_shown((None, *x.shape))} to {_shown(target)}", AGAIN, "VFL0707")
    return x if sizes == x.shape else Value("expand", (x,), sizes, {}, call.name)


def sliced(call: NodeCall) -> NodeValue:
    found = call.input(0)
    starts, stops = call.whole(1, "starts") or [], call.whole(2, "ends") or []
    axes = call.whole(3, "axes") or list(range(len(starts)))
    steps = call.whole(4, "steps") or [1] * len(starts)
    if not len(starts) == len(stops) == len(axes) == len(steps):
        call.fail("has starts, ends, axes and steps of different number", AGAIN, "VFL0707")
    if isinstance(found, ShapeSizes):
        if steps != [1] or axes not in ([0], [-1]):
            call.fail("takes sizes in steps")
        return whole(found.sizes[starts[0] : stops[0]])
    x = _column_or_number(call)
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        rank = len(x.shape) + 1
        if axis % rank == 0 and start == 0 and step == 1 and stop >= (call.model.batch or 2**31 - 1):
            continue
        at = call.axis(axis, rank)
        if step != 1:
            call.fail(f"takes every {step}th position")
        first, last, _ = slice(start, stop).indices(x.shape[at])
        x = _part(call, x, at, first, last)
    return x


def _column_or_number(call: NodeCall) -> Value:
    """One or several columns as they stand in the table, or numbers."""
    found = call.input(0)
    return found if isinstance(found, Value) and call.model.all_ids([found]) else numeric(call)


def _part(call: NodeCall, x: Value, at: int, start: int, stop: int) -> Value:
    if x.op in ("raw", "raws"):
        return call.model.some(x, start, stop, call.name)
    return part(x, at, start, stop, call.name)


def split(call: NodeCall) -> list[Value]:
    x = _column_or_number(call)
    at = call.axis(call.attr("axis", 0), len(x.shape) + 1)
    count = len(call.node.outputs)
    even = -(-x.shape[at] // count)
    sizes = call.whole(1, "split") or [min(even, x.shape[at] - i * even) for i in range(count)]
    if len(sizes) != count or sum(sizes) != x.shape[at] or min(sizes) < 1:
        call.fail(f"splits {x.shape[at]} positions into {sizes[:8]}", AGAIN, "VFL0707")
    return [_part(call, x, at, sum(sizes[:i]), sum(sizes[: i + 1])) for i in range(count)]


def positions(call: NodeCall, x: Value, axis: int) -> NodeValue:
    """`Gather` along an axis of the row: positions that the file names."""
    indices = call.required(1)
    at = call.axis(axis, len(x.shape) + 1)
    if not indices.whole or indices.rank > 1 or indices.size > 10_000:
        call.fail("takes positions that are no list of whole numbers")
    listed = [int(i) + (x.shape[at] if i < 0 else 0) for i in indices.elements]
    if not listed or not all(0 <= i < x.shape[at] for i in listed):
        call.fail(f"takes the positions {listed[:8]} of {x.shape[at]}", AGAIN, "VFL0707")
    runs: list[list[int]] = []
    for i in listed:
        if runs and i == runs[-1][1]:
            runs[-1][1] = i + 1
        else:
            runs.append([i, i + 1])
    parts = [_part(call, x, at, start, stop) for start, stop in runs]
    if indices.rank == 0:
        rest = (*x.shape[:at], *x.shape[at + 1 :])
        (one,) = parts
        return call.model.narrowed(one, rest) if one.op == "raw" else reshape(one, rest, call.name)
    if call.model.all_ids(parts):
        return parts[0] if len(parts) == 1 else call.model.raws(parts)
    return parts[0] if len(parts) == 1 else concat(parts, at, call.name)


def transpose(call: NodeCall) -> Value:
    """Axes in another order, where that leaves the numbers in theirs."""
    x = numeric(call)
    perm = call.attr("perm", []) or list(range(len(x.shape), -1, -1))
    if sorted(perm) != list(range(len(x.shape) + 1)):
        call.fail(f"has perm = {perm[:8]}", AGAIN, "VFL0707")
    if perm[0] != 0:
        call.fail("puts another axis in the place of the batch", ALONG, "VFL0703")
    moved = [p - 1 for p in perm[1:] if x.shape[p - 1] != 1]
    if moved != sorted(moved):
        call.fail("puts the axes of a row in another order")
    return reshape(x, tuple(x.shape[p - 1] for p in perm[1:]), call.name)


def filled(call: NodeCall) -> NodeValue:
    """A number for each row, as `torch.zeros(len(x), 1)` makes it."""
    sizes, value = sizes_of(call, 0), call.node.attrs.get("value", Numbers.listed("float32", (1,), [0]))
    if not isinstance(value, Numbers) or value.kind == "string":
        call.fail("does not say which number it makes", AGAIN, "VFL0707")
    if value.size != 1 or prod(n for n in sizes if n is not None) > 1_000_000:
        call.fail("makes too many numbers, or of several values", AGAIN, "VFL0707")
    if any(n is None for n in sizes[1:]):
        call.fail("makes as many numbers as there are rows", ALONG, "VFL0703")
    if sizes[:1] == (None,):
        return number(float(value.elements[0]))
    shape = [size for size in sizes if size is not None]
    return OnnxConstant(value.reshaped(()).repeated(shape))


SHAPES: dict[str, Callable[[NodeCall], Any]] = {
    "Shape": shape,
    "Reshape": reshaped,
    "Flatten": flatten,
    "Unsqueeze": unsqueeze,
    "Squeeze": squeeze,
    "Concat": joined,
    "Expand": expand,
    "Slice": sliced,
    "Split": split,
    "Transpose": transpose,
    "ConstantOfShape": filled,
    "Identity": lambda call: call.input(0),
}
