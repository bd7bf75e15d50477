"""Types of values: named axes and an element type.

The batch axis is an ordinary axis, always the first, whose size is unknown until a run.
Users never write it, so `str()` of a type leaves it out.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

DType = Literal["float", "int", "bool"]
"""`float` becomes float32 or float64 when a plan is emitted; `int` is int32."""

BATCH = "batch"


class Axis(Struct, frozen=True):
    """One axis: `name` is None where nobody named it, `size` is None where only a run knows it."""

    name: str | None
    size: int | None

    def __str__(self) -> str:
        size = "?" if self.size is None else str(self.size)
        return f"{self.name} {size}" if self.name else size


ROWS = Axis(BATCH, None)


class TensorType(Struct, frozen=True):
    """Axes in order (the batch axis first, where there is one) and the element type."""

    axes: tuple[Axis, ...]
    dtype: DType = "float"

    @property
    def batched(self) -> bool:
        return bool(self.axes) and self.axes[0].name == BATCH

    @property
    def row_axes(self) -> tuple[Axis, ...]:
        """The axes of one row: all but the batch axis."""
        axes = self.axes
        return axes[1:] if axes and axes[0].name == BATCH else axes

    @property
    def rank(self) -> int:
        return len(self.axes)

    @property
    def sizes(self) -> tuple[int | None, ...]:
        return tuple(axis.size for axis in self.axes)

    @property
    def row_size(self) -> int | None:
        """Elements in one row, or None where an axis has no fixed size."""
        count = 1
        for axis in self.row_axes:
            if axis.size is None:
                return None
            count *= axis.size
        return count

    def position(self, name: str) -> int | None:
        """Where the axis called `name` stands, or None."""
        for index, axis in enumerate(self.axes):
            if axis.name == name:
                return index
        return None

    def with_axes(self, axes: tuple[Axis, ...]) -> TensorType:
        return TensorType(axes, self.dtype)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(self.axes, dtype)

    def __str__(self) -> str:
        inner = ", ".join(str(axis) for axis in self.row_axes)
        per = "" if self.batched else " (once)"
        kind = "" if self.dtype == "float" else f" {self.dtype}"
        return f"[{inner}]{kind}{per}"
