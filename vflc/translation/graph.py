"""What a model computes, whichever file it came from: a small graph of operations on one row.

Shapes are those of a row, without the batch, in the terms of the file: `()` is a number, `(1,)` a vector of
one. What an operation is called here is what the language calls it, as far as it has a name there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any, NoReturn

from msgspec import Struct, field

from vflc.diagnostics import Diagnostic, Refused

AxisSizes = tuple[int, ...]


def refuse(code: str, message: str, help: str) -> NoReturn:
    """Ends an import with one finding; a model has no text that it could stand at."""
    raise Refused([Diagnostic(code, message, None, help)])


class Value(Struct, eq=False):
    """What one operation makes of a row.

    Args:
        op: `feature`, `number`, `embed`, `dense`, `concat`, …
        inputs: the values that it reads.
        shape: of a row; of what does not depend on the row, `()`.
        attrs: settings, by the names of the language.
        layer: what the file calls the layer, for messages and bindings.
        named: whether a person gave the name, and not the program that made the layer.
        weights: where the file holds the operation's weights, by the last part of their name in a spec.
        many: whether the weights are shared with other values of the same `weights`.
        scope: what a person called the model inside the model that it is a part of.
    """

    op: str
    inputs: tuple[Value, ...] = ()
    shape: AxisSizes = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    layer: str = ""
    named: bool = False
    weights: dict[str, str] = field(default_factory=dict)
    many: bool = False
    scope: str = ""


class InputColumn(Struct, eq=False):
    """An input of the model, and what is done to it before it is a number or an id.

    Args:
        name: the input's, which is its column's; of a vector, that of its columns without their number.
        type: `string`, `int` or `float`, as the spec declares it.
        shape: `()`, `(1,)`, or `(n,)`: n columns.
        encodings: chains of encoders in the text of the language, in the order of their use.
        part_of: the input of the model whose column it is, where a vector is taken apart.
    """

    name: str
    type: str
    shape: AxisSizes
    encodings: list[str] = field(default_factory=list)
    part_of: str = ""

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def members(self) -> tuple[str, ...]:
        """The columns of the table."""
        vector = len(self.shape) == 1 and self.shape[0] > 1
        return tuple(f"{self.name}{i}" for i in range(1, self.count + 1)) if vector else (self.name,)


def ordered(outputs: Iterable[Value]) -> list[Value]:
    """All values that outputs are made of, each after what it reads."""
    found: dict[int, Value] = {}
    stack: list[tuple[Value, Iterator[Value]]] = [(v, iter(v.inputs)) for v in outputs][::-1]
    while stack:
        value, rest = stack[-1]
        if id(value) in found:
            stack.pop()
            continue
        below = next((v for v in rest if id(v) not in found), None)
        if below is None:
            found[id(value)] = value
            stack.pop()
        else:
            stack.append((below, iter(below.inputs)))
    return list(found.values())


# --- operations -------------------------------------------------------------------------------------


def number(value: float) -> Value:
    """A number that is the same for every row."""
    return Value("number", attrs={"value": value})


def unary(op: str, x: Value, layer: str, **attrs: Any) -> Value:
    """An operation element by element."""
    return Value(op, (x,), x.shape, attrs, layer)


def binary(op: str, x: Value, y: Value, layer: str) -> Value:
    """An operation on two values, element by element."""
    if x.op == "number" or y.op == "number":
        return Value(op, (x, y), y.shape if x.op == "number" else x.shape, {}, layer)
    if "weight" in (x.op, y.op):
        return Value(op, (x, y), _with_weight(x, y, layer), {}, layer)
    if len(x.shape) != len(y.shape):
        refuse(
            "VFL0703",
            f"`{layer}` joins {shown(x.shape)} and {shown(y.shape)}, so that rows meet other rows",
            "give both the same number of axes (`expand_dims`, `unsqueeze`), and save the model again",
        )
    shape = []
    for a, b in zip(x.shape, y.shape, strict=True):
        if a != b and 1 not in (a, b):
            refuse("VFL0700", f"`{layer}` joins {shown(x.shape)} and {shown(y.shape)}", DAMAGED)
        shape.append(max(a, b))
    return Value(op, (x, y), tuple(shape), {}, layer)


def _with_weight(x: Value, y: Value, layer: str) -> AxisSizes:
    """The shape of a value and a weight together; a weight has no batch, and meets the last axes of a row."""
    row = next((v.shape for v in (x, y) if v.op != "weight"), None)
    if row is not None and any(prod(v.shape) == 1 for v in (x, y) if v.op == "weight"):
        return row
    rank = max(len(x.shape), len(y.shape))
    if row is not None and len(row) < rank:
        refuse("VFL0703", f"`{layer}` joins {shown(x.shape)} and {shown(y.shape)}", ALONG)
    both = [(1,) * (rank - len(v.shape)) + v.shape for v in (x, y)]
    if any(a != b and 1 not in (a, b) for a, b in zip(*both, strict=True)):
        refuse("VFL0700", f"`{layer}` joins {shown(x.shape)} and {shown(y.shape)}", DAMAGED)
    return tuple(map(max, *both))


def reshape(x: Value, shape: AxisSizes, layer: str) -> Value:
    """The same values of a row in other axes; one size may be -1."""
    if shape.count(-1) == 1 and (known := -prod(shape)) > 0:
        shape = tuple(prod(x.shape) // known if size == -1 else size for size in shape)
    if prod(shape) != prod(x.shape) or min(shape, default=1) < 0:
        refuse(
            "VFL0703",
            f"`{layer}` makes {shown(shape)} of {shown(x.shape)}, which are not the values of one row",
            "leave the batch axis as it is, as `keras.layers.Reshape` does, and save the model again",
        )
    return x if shape == x.shape else Value("reshape", (x,), shape, {}, layer)


def concat(values: Sequence[Value], axis: int, layer: str) -> Value:
    """Values one after another along an axis of the row."""
    first = values[0].shape
    rest = {v.shape[:axis] + v.shape[axis + 1 :] for v in values if axis < len(v.shape)}
    if not 0 <= axis < len(first) or len(rest) != 1 or any(len(v.shape) != len(first) for v in values):
        shapes = ", ".join(shown(v.shape) for v in values[:4])
        refuse("VFL0703", f"`{layer}` joins {shapes} along the batch, or along no axis", ALONG)
    total = sum(v.shape[axis] for v in values)
    return Value("concat", tuple(values), (*first[:axis], total, *first[axis + 1 :]), {"axis": axis}, layer)


def stack(values: Sequence[Value], axis: int, layer: str) -> Value:
    """Values of one shape along a new axis of the row."""
    shape = values[0].shape
    if not 0 <= axis <= len(shape) or any(v.shape != shape for v in values):
        refuse("VFL0703", f"`{layer}` stacks rows along the batch, or values of different shapes", ALONG)
    return Value("stack", tuple(values), (*shape[:axis], len(values), *shape[axis:]), {"axis": axis}, layer)


def reduce(op: str, x: Value, axes: Sequence[int], keep: bool, layer: str) -> Value:
    """A sum, mean or max over axes of the row."""
    if any(not 0 <= axis < len(x.shape) for axis in axes):
        refuse("VFL0703", f"`{layer}` reduces over the batch", ALONG)
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes)
    if not axes:
        return reshape(x, shape, layer)
    return Value(op, (x,), shape, {"axes": tuple(sorted(axes))}, layer)


def part(x: Value, axis: int, start: int, stop: int, layer: str) -> Value:
    """Positions of an axis of the row, from `start` up to, not including, `stop`."""
    if not 0 <= start < stop <= x.shape[axis]:
        refuse("VFL0700", f"`{layer}` takes {start} to {stop} of {shown(x.shape)}", DAMAGED)
    shape = (*x.shape[:axis], stop - start, *x.shape[axis + 1 :])
    return x if shape == x.shape else Value(
        "slice", (x,), shape, {"axis": axis, "start": start, "stop": stop}, layer
    )  # fmt: skip


def shown(shape: AxisSizes) -> str:
    """A shape as the language writes it."""
    return f"[{', '.join(map(str, shape))}]"


DAMAGED = "the file contradicts itself: save the model again"
ALONG = "let the layer work on axes of a row; a spec computes each row by itself"
