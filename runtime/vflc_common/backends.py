"""What an encoder is given where it takes part in a statistic, a graph, or an exported model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class ColumnStatistic(Protocol):
    """What is learned of a column in one pass over its training rows.

    `count` says how many values there were: nothing is fitted to none.
    """

    count: int

    def add(self, values: Any) -> None:
        """Takes in more: numbers [n], float64 and finite, or as `Fit` says, an Arrow array without nulls."""


class GraphBuilder(Protocol):
    """What `undo` is given: it adds nodes to the graph, and values are nodes.

    `op` takes the name of an op of the language (`add`, `mul`, `exp`, …) and its inputs.
    """

    def op(self, op: str, *inputs: Any) -> Any: ...

    def constant(self, value: float) -> Any: ...


class RawColumn(Protocol):
    """The column that a backend encodes."""

    @property
    def type(self) -> str:
        """Its declared type."""

    @property
    def many(self) -> bool:
        """Whether a row has many ids. A piece that is no text is an id of -1, which is none."""

    def id_of(self, settings: Mapping[str, Any], value: Any) -> int:
        """The id that an encoder gives to one value; one that no table has where it gives none."""

    def ids_of(self, settings: Mapping[str, Any], values: Sequence[Any]) -> list[int]:
        """The same of several values."""


class OnnxBuilder(Protocol):
    """What `onnx` is given: it adds nodes, and values are their names.

    Called with an operator of ONNX, its inputs and attributes, it gives the name of its first output. Texts
    are strings, `""` where missing; `int` columns that are looked up are int64, `MISSING` where missing; all
    other numbers are doubles, not-a-number where missing. Ids are int64, `UNKNOWN` where a value has none.
    """

    @property
    def raw(self) -> RawColumn: ...

    def __call__(
        self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any
    ) -> str: ...

    def constant(self, value: Any, dtype: Any = ...) -> str: ...


class KerasBuilder(Protocol):
    """What `keras` is given, with values as for ONNX: `keras.ops`, `keras.layers`, names for layers."""

    @property
    def raw(self) -> RawColumn: ...

    ops: Any
    layers: Any
    precision: str

    def constant(self, value: Any, dtype: str) -> Any: ...

    def absent(self, value: Any) -> Any:
        """Where a value of an `int` column or a text is missing."""

    def name(self, what: str) -> str: ...
