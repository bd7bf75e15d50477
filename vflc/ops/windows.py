"""Windows over axes of a row, as convolutions and pooling read them, and their sum back into place.

Each op is the gradient of the other. Which element goes where is known when a model is compiled, so both are
reads at fixed positions: there is no kernel to look for in any precision, and nothing is summed in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import Axis, TensorType
from vflc.ops.parts import Parts
from vflc.ops.registry import Attrs, KerasOps, OnnxWriter, Op, OpError, OpSample, register
from vflc.ops.rules import InputGradients, need_float, tensor
from vflc.ops.traits import COPY, reduced, with_zero
from vflc.ops.users import moved

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

NOTHING = -1
"""The position of an element outside, which is 0."""


def places(attrs: Attrs) -> list[list[int]]:
    """For each window, in order, the positions of its elements among all of the axes together."""
    along = [_along(*each, nearest=attrs["nearest"]) for each in _axes(attrs)]
    steps = [prod(attrs["sizes"][i + 1 :]) for i in range(len(along))]
    return [
        [
            NOTHING if NOTHING in at else sum(p * s for p, s in zip(at, steps, strict=True))
            for at in product(*windows)
        ]
        for windows in product(*along)
    ]


def _axes(attrs: Attrs) -> list[tuple[int, int, int, int, int, int]]:
    """Of each axis its size, that of its windows, how far these are apart, how far their elements are, and
    how many zeros lie before and after it."""
    keys = ("sizes", "window", "stride", "dilation", "before", "after")
    return list(zip(*(attrs[key] for key in keys), strict=True))


def _along(
    size: int, window: int, stride: int, dilation: int, before: int, after: int, nearest: bool
) -> list[list[int]]:
    """The same along one axis, which is longer by `before` and `after`."""
    found = []
    for start in range(-before, size + after - (window - 1) * dilation, stride):
        at = [start + i * dilation for i in range(window)]
        if nearest:
            found.append([min(max(i, 0), size - 1) for i in at])
        else:
            found.append([i if 0 <= i < size else NOTHING for i in at])
    return found


def readers(attrs: Attrs) -> list[list[int]]:
    """For each element, which positions of all windows read it; equally many, filled up with `NOTHING`."""
    found: list[list[int]] = [[] for _ in range(prod(attrs["sizes"]))]
    flat = [place for window in places(attrs) for place in window]
    for position, place in enumerate(flat):
        if place != NOTHING:
            found[place].append(position)
    most = max(len(each) for each in found)
    return [each + [NOTHING] * (most - len(each)) for each in found]


def counts(attrs: Attrs) -> tuple[int, ...]:
    """How many windows there are along each axis."""
    return tuple(
        (size + before + after - (window - 1) * dilation - 1) // stride + 1
        for size, window, stride, dilation, before, after in _axes(attrs)
    )


def infer_windows(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (x,), first, sizes = types, attrs["axis"], tuple(attrs["sizes"])
    need_float(types, "windows")
    last = first + len(sizes)
    if not int(x.batched) <= first <= last <= x.rank or x.sizes[first:last] != sizes:
        raise OpError(f"windows over axes {first} to {last} of {x}")
    found = counts(attrs)
    if min(found) < 1:
        shown, wide = (" x ".join(map(str, each)) for each in (sizes, attrs["window"]))
        raise OpError(
            f"a window of {wide} does not fit into {shown} values of {x}",
            "make the window smaller, or give `padding = same`",
        )
    kept = tuple(Axis(axis.name, count) for axis, count in zip(x.axes[first:last], found, strict=True))
    return x.with_axes((*x.axes[:first], *kept, Axis(None, prod(attrs["window"])), *x.axes[last:]))


def infer_overlap(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (x,), first = types, attrs["axis"]
    last = first + len(attrs["sizes"])
    need_float(types, "overlap")
    if x.rank <= last or x.sizes[first : last + 1] != (*counts(attrs), prod(attrs["window"])):
        raise OpError(f"the sum of windows {x} at axis {first}")
    names = (axis.name for axis in x.axes[first:last])
    kept = tuple(Axis(name, size) for name, size in zip(names, attrs["sizes"], strict=True))
    return x.with_axes((*x.axes[:first], *kept, *x.axes[last + 1 :]))


def _around(attrs: Attrs, type_: TensorType, over: int) -> tuple[list[int], list[int]]:
    """The sizes before so many axes, and after them; 0 before, and -1 after, where only a run knows."""
    first = attrs["axis"]
    return [size or 0 for size in type_.sizes[:first]], [size or -1 for size in type_.sizes[first + over :]]


def _onnx_read(w: OnnxWriter, x: str, index: Any, before: list[int], after: list[int], most: int) -> str:
    """The elements of an axis, of so many, at these positions [*], with zeros for `NOTHING`."""
    places = np.asarray(index)
    if (places == NOTHING).any():
        margins = [0] * (len(before) + 1 + len(after))
        last = [int(i == len(before)) for i in range(len(margins))]
        x = w("Pad", x, w.constant([*margins, *last], "int64"))
        places = np.where(places == NOTHING, most, places)
    return w("Gather", x, w.constant(places, "int64"), axis=len(before))


def onnx_windows(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    a, most = node.attrs, prod(node.attrs["sizes"])
    before, after = _around(a, types[0], len(a["sizes"]))
    if len(a["sizes"]) == 1:
        return _onnx_read(w, inputs[0], places(a), before, after, most)
    x = w("Reshape", inputs[0], w.constant([*before, most, *after], "int64"))
    found = _onnx_read(w, x, places(a), before, after, most)
    return w("Reshape", found, w.constant([*before, *counts(a), prod(a["window"]), *after], "int64"))


def onnx_overlap(w: OnnxWriter, node: Node, inputs: Sequence[str], types: Sequence[TensorType]) -> str:
    a, most = node.attrs, prod(counts(node.attrs)) * prod(node.attrs["window"])
    before, after = _around(a, types[0], len(a["sizes"]) + 1)
    x = w("Reshape", inputs[0], w.constant([*before, most, *after], "int64"))
    reads = zip(*readers(a), strict=True)  # one after another: ReduceSum over so few takes twice as long
    parts = [_onnx_read(w, x, list(index), before, after, most) for index in reads]
    total = w("Sum", *parts) if len(parts) > 1 else parts[0]
    if len(a["sizes"]) == 1:
        return total
    return w("Reshape", total, w.constant([*before, *a["sizes"], *after], "int64"))


def _keras_reshape(k: KerasOps, x: Any, sizes: list[int]) -> Any:
    """In these sizes, of which those of 0 or -1 are left open."""
    target = [size or -1 for size in sizes]
    if target.count(-1) < 2:
        return k.ops.reshape(x, target)
    from keras import layers  # a layer is the one way to leave two sizes open, of batch and axis

    return layers.Reshape(target[1:], dtype=k.float_dtype)(x)


def _keras_read(k: KerasOps, x: Any, index: list[list[int]], axis: int, rank: int, most: int) -> Any:
    if any(NOTHING in each for each in index):
        x = k.ops.pad(x, [(0, int(i == axis)) for i in range(rank)])
    return k.ops.take(x, [[most if place == NOTHING else place for place in each] for each in index], axis)


def keras_windows(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    a, most = node.attrs, prod(node.attrs["sizes"])
    before, after = _around(a, types[0], len(a["sizes"]))
    rank = len(before) + 1 + len(after)
    if len(a["sizes"]) == 1:
        return _keras_read(k, inputs[0], places(a), len(before), rank, most)
    x = _keras_reshape(k, inputs[0], [*before, most, *after])
    found = _keras_read(k, x, places(a), len(before), rank, most)
    return _keras_reshape(k, found, [*before, *counts(a), prod(a["window"]), *after])


def keras_overlap(k: KerasOps, node: Node, inputs: Sequence[Any], types: Sequence[TensorType]) -> Any:
    a, most = node.attrs, prod(counts(node.attrs)) * prod(node.attrs["window"])
    before, after = _around(a, types[0], len(a["sizes"]) + 1)
    x = _keras_reshape(k, inputs[0], [*before, most, *after])
    read = _keras_read(k, x, readers(a), len(before), len(before) + 1 + len(after), most)
    return _keras_reshape(k, k.ops.sum(read, axis=len(before) + 1), [*before, *a["sizes"], *after])


def reference_windows(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    (x,), a = inputs, node.attrs
    before, after = x.shape[: a["axis"]], x.shape[a["axis"] + len(a["sizes"]) :]
    index = np.asarray(places(a))
    taken = np.take(x.reshape(*before, -1, *after), index, axis=a["axis"])
    there = (index != NOTHING).reshape(*index.shape, *(1 for _ in after))
    return np.where(there, taken, 0).reshape(*before, *counts(a), -1, *after)


def reference_overlap(node: Node, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
    (x,), a = inputs, node.attrs
    before, after = x.shape[: a["axis"]], x.shape[a["axis"] + len(a["sizes"]) + 1 :]
    index = np.asarray(places(a)).reshape(-1)
    flat = np.moveaxis(x.reshape(*before, len(index), *after), a["axis"], 0)
    total = np.zeros((prod(a["sizes"]), *flat.shape[1:]), x.dtype)
    np.add.at(total, index[index != NOTHING], flat[index != NOTHING])
    return np.moveaxis(total, 0, a["axis"]).reshape(*before, *a["sizes"], *after)


def apart(types: Sequence[TensorType], attrs: Attrs, axis: int) -> int | None:
    """The axes before and after those that windows go over."""
    first, last = attrs["axis"], attrs["axis"] + len(attrs["sizes"])
    return axis if axis < first else axis + 1 if axis >= last else None


def vjp_windows(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    return (b.op("overlap", g, **node.attrs),)


def vjp_overlap(b: Build, node: Node, inputs: Sequence[Node], g: Node) -> InputGradients:
    return (b.op("windows", g, **node.attrs),)


# --- registration -----------------------------------------------------------------------------------


def _attrs(
    axis: int, sizes: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...],
    pads: tuple[tuple[int, int], ...], dilation: tuple[int, ...] | None = None, nearest: bool = False,
) -> dict[str, Any]:  # fmt: skip
    return {
        "axis": axis, "sizes": sizes, "window": window, "stride": stride,
        "dilation": dilation or (1,) * len(sizes), "before": tuple(low for low, _ in pads),
        "after": tuple(high for _, high in pads), "nearest": nearest,
    }  # fmt: skip


PLAIN = _attrs(1, (5,), (3,), (1,), ((0, 0),))
PADDED = _attrs(1, (5,), (2,), (2,), ((0, 1),))
SPREAD = _attrs(2, (6,), (2,), (1,), ((2, 0),), (2,))
SQUARE = _attrs(1, (3, 4), (2, 2), (1, 3), ((0, 1), (1, 0)))
NEAREST = _attrs(1, (3, 4), (2, 3), (1, 2), ((0, 1), (1, 1)), nearest=True)
FAR = _attrs(0, (7,), (2,), (3,), ((0, 0),))
_PARTS = Parts(along=apart)
register(
    Op(
        "windows", "Windows over axes of a row, each along one axis, with zeros for what lies outside.",
        infer_windows, onnx_windows, keras_windows, reference_windows, vjp_windows,
        (
            OpSample((tensor(None, ("time", 5), 2),), PLAIN),
            OpSample((tensor(None, 5, 2),), PADDED),
            OpSample((tensor(None, 2, 6),), SPREAD),
            OpSample((tensor(None, 3, 4, 2),), SQUARE),
            OpSample((tensor(None, 3, 4, 1),), NEAREST),
            OpSample((tensor(7, 2),), FAR),
        ),
        slopes=COPY, bounds=with_zero, axes=("axis",), users=moved, parts=_PARTS,
    )
)  # fmt: skip
register(
    Op(
        "overlap", "The sum of windows at the places that they were read from, the gradient of `windows`.",
        infer_overlap, onnx_overlap, keras_overlap, reference_overlap, vjp_overlap,
        (
            OpSample((tensor(None, ("time", 3), 3, 2),), PLAIN),
            OpSample((tensor(None, 3, 2, 2),), PADDED),
            OpSample((tensor(None, 2, 6, 2),), SPREAD),
            OpSample((tensor(None, 3, 2, 4, 2),), SQUARE),
            OpSample((tensor(None, 3, 2, 6, 1),), NEAREST),
            OpSample((tensor(2, 2, 2),), FAR),
        ),
        slopes=COPY, bounds=reduced, axes=("axis",), users=moved,
    )
)  # fmt: skip
