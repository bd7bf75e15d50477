"""A node of an ONNX graph as it is read: its inputs as what an operator needs them to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NoReturn

from vflc.onnx_file import Numbers, OnnxNode
from vflc.translation import columns
from vflc.translation.graph import Value, number
from vflc.translation.onnx_parts import OnnxParts
from vflc.translation.onnx_values import AGAIN, ALONG, HAND, NodeValue, OnnxConstant, ShapeSizes, fail, short


class NodeCall:
    """A node and what it reads.

    Args:
        node: which.
        inputs: what its inputs stand for; None for those that are left out.
        model: that it is a part of.
    """

    def __init__(self, node: OnnxNode, inputs: Sequence[NodeValue], model: OnnxParts) -> None:
        self.node, self.inputs, self.model = node, inputs, model
        self.name = node.name

    def fail(self, what: str, help: str = HAND, code: str = "VFL0709") -> NoReturn:
        """See `onnx_values.fail`."""
        fail(self.node, what, help, code)

    def input(self, index: int) -> NodeValue:
        return self.inputs[index] if index < len(self.inputs) else None

    def value(self, index: int) -> Value:
        """An input as numbers of rows, a weight or a number."""
        found = self.input(index)
        if isinstance(found, OnnxConstant):
            return self.weight(found)
        if isinstance(found, Value):
            return (
                columns.numeric(found, self.name)
                if found.op != "raws"
                else self.model.joined(found, self.name)
            )
        self.fail(
            "computes with the size of the batch" if found else "lacks an input",
            ALONG,
            "VFL0703" if found else "VFL0707",
        )

    def row(self, index: int = 0) -> Value:
        """An input that has a batch."""
        found = self.value(index)
        if found.op in ("weight", "number"):
            self.fail("computes with weights alone where a value of the rows is due")
        return found

    def weight(self, found: OnnxConstant) -> Value:
        """A constant as a weight, or as a number where it is one."""
        numbers = found.numbers
        if numbers.size == 1 and not self.model.is_weight(found):
            return number(self._plain(numbers.elements[0]))
        if not numbers.floats:
            self.fail(f"computes with a list of {numbers.size} {numbers.kind} numbers")
        shape = numbers.shape or (1,)
        while len(shape) > 1 and shape[0] == 1:
            shape = shape[1:]
        changed = found.changed(numbers.reshaped(shape), "row")
        return self.model.weight(changed if len(shape) != numbers.rank else found, self.node)

    def _plain(self, value: Any) -> float:
        if isinstance(value, str) or not isfinite(value):
            self.fail(f"computes with {str(value)[:20]!r}")
        return short(value)

    def constant(self, index: int) -> Numbers | None:
        """An input that must be known; None where it is left out.

        Raises:
            Refused: VFL0709, it is computed of rows; VFL0703, of the size of the batch.
        """
        found = self.input(index)
        if found is None or isinstance(found, OnnxConstant):
            return found.numbers if found else None
        if isinstance(found, ShapeSizes):
            self.fail("depends on the size of the batch", ALONG, "VFL0703")
        self.fail(f"has an input {index + 1} that is computed of the rows")

    def required(self, index: int) -> Numbers:
        """An input that must be known and there; Raises as `constant`, and VFL0707 where it is left out."""
        found = self.constant(index)
        if found is None:
            self.fail("lacks an input", AGAIN, "VFL0707")
        return found

    def number(self, index: int, default: float | None = None) -> float | None:
        """An input that is one known number."""
        found = self.constant(index)
        if found is None:
            return default
        if found.size != 1:
            self.fail(f"has {found.size} numbers where one is due")
        return self._plain(found.elements[0])

    def whole(self, index: int, attr: str) -> list[int] | None:
        """Whole numbers of an input, or of the setting that it was in older versions."""
        if attr in self.node.attrs:
            given = self.node.attrs[attr]
            listed = given if isinstance(given, list) else [given]
            if not all(isinstance(each, int) for each in listed):
                self.fail(f"has {attr} = {str(given)[:40]}", AGAIN, "VFL0707")
            return list(listed)
        found = self.constant(index)
        if found is None:
            return None
        if not found.whole or found.size > 64:
            self.fail("has axes or sizes that are not whole numbers", AGAIN, "VFL0707")
        return list(found.elements)

    def attr(self, name: str, default: Any) -> Any:
        """A setting, of the type of its default."""
        found = self.node.attrs.get(name, default)
        kind = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(found, kind):
            self.fail(f"has {name} = {str(found)[:40]}", AGAIN, "VFL0707")
        return short(found) if isinstance(default, float) else found

    def only(self, **allowed: Any) -> None:
        """VFL0709 where a setting has another value than the one here."""
        for key, value in allowed.items():
            if self.node.attrs.get(key, value) != value:
                self.fail(f"has {key} = {str(self.node.attrs[key])[:40]}, which has no counterpart")

    def axis(self, axis: int, rank: int) -> int:
        """An axis of the row, of an axis of a value of `rank` axes with the batch."""
        if not -rank <= axis < rank:
            self.fail(f"has axis {axis} of {rank}", AGAIN, "VFL0707")
        axis %= rank
        if axis == 0:
            self.fail("works along the batch", ALONG, "VFL0703")
        return axis - 1


NodeReader = Callable[[NodeCall], NodeValue]
"""From a node to the value of its first output."""
