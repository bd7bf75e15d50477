"""Which values of a model get a name in the spec, and which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from vflc.translation.graph import InputColumn, Value
from vflc.translation.names import Names
from vflc.translation.structure import Structures
from vflc.translation.text import ATOM, Text, flat

LONG = 88
"""An expression longer than this gets a name of its own before it is used in another."""
NAMED_BY_OP = {
    "concat": "joined", "stack": "stacked", "add": "total", "sum": "total", "mul": "product",
    "matmul": "product",
    "dense": "hidden", "dropout": "dropped", "layer_norm": "normed", "batch_norm": "normed",
    "softmax": "shares",
    "sub": "difference", "div": "ratio", "feature": "x",
}  # fmt: skip
"""What a value is called that has no name of its own."""


class Bindings:
    """Names of values, lines that bind them, and where the file has the weights below them.

    Args:
        columns: of the model.
        names: of each column of the file in the spec.
        owner: of each column of the file.
        fresh: names that are still free.
    """

    def __init__(
        self, columns: Sequence[InputColumn], names: Mapping[str, str], owner: Mapping[str, str], fresh: Names
    ) -> None:
        self.columns, self.names, self.owner, self.fresh = columns, names, owner, fresh
        self.lines: list[str] = []
        self.weights: dict[str, str] = {}
        self._texts: dict[int, Text] = {}
        self._grouped: dict[int, str] = {}
        self._shared: dict[str, str] = {}
        self.penalties: list[str] = []
        self._results: dict[int, str] = {}
        self._found: Structures

    # --- bindings -----------------------------------------------------------------------------------

    def _bind(self, name: str, text: Text) -> Text:
        """A line for the text, under a name that is still free."""
        self.lines.append(f"{name} = {text.text}")
        return Text(name, ATOM, text.axes)

    def _bound(self, value: Value, text: Text) -> Text:
        """The text, or a name for it: of layers that have one, of what is read twice, of what is long."""
        users = [user for user, _ in self._found.users[id(value)] if user.op not in ("embed", "one_hot")]
        plain = value.op in ("number", "feature") and len(value.shape) < 2 and prod(value.shape) == 1
        if plain or text.text.isidentifier():
            return text
        named = self._named(id(value), value.layer if value.named else None)
        if named or id(value) in self._results or len(users) > 1 or len(text.text) > LONG:
            return self._bind(self._called(value), text)
        return text

    def _called(self, value: Value, otherwise: str | None = None) -> str:
        """What a value is bound to: its name as an output, a person's, or one by what it is."""
        if id(value) in self._results:
            return self._results[id(value)]
        read = value.inputs[0] if value.op == "one_hot" else value
        column = str(read.attrs["column"].name).rpartition(".")[2] if read.op == "feature" else None
        return self.fresh.fresh(
            self._named(id(value), value.layer if value.named else None)
            or otherwise
            or column
            or NAMED_BY_OP.get(value.op, "value")
        )

    # --- what is otherwise in a block -----------------------------------------------------------------

    def _named(self, key: int, name: str | None) -> str | None:
        """What a person called a value, or a group of embeddings, by its `id`."""
        return name

    def _said(self, key: int, setting: str, text: str) -> str:
        """How a setting of it is written."""
        return text

    def _parameter(self, key: int) -> str | None:
        """What stands for a column, or for the columns of a group, by its `id`."""
        return None

    # --- axes -----------------------------------------------------------------------------------------

    def _fit(self, value: Value) -> Text:
        """The value with the very axes that the file gives it; a number is a vector of one."""
        text, shape = self._texts[id(value)], value.shape or (1,)
        if text.sizes == shape:
            return text
        if len(shape) == 1:
            return Text(f"flatten({text.text})", ATOM, flat(*shape))
        return Text(f"reshape({text.text}, {', '.join(map(str, shape))})", ATOM, flat(*shape))

    def _vector(self, value: Value) -> Text:
        """The value along one axis."""
        text = self._texts[id(value)]
        return text if len(text.axes) == 1 else Text(f"flatten({text.text})", ATOM, flat(prod(value.shape)))
