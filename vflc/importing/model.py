"""What an import makes of a file: a model, what it predicts, and how that is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from vflc.translation.graph import InputColumn, Value

if TYPE_CHECKING:
    from vflc.importing.tables import DescribedTables


class Output(Struct, eq=False):
    """A prediction and how it is learned.

    Args:
        value: what the loss reads: a logit for `bce` and `cce`.
        loss: a loss of the language.
        name: the output's, in the file.
        settings: of the loss, such as `delta`.
        weight: what the loss is multiplied by.
        notes: what a person should know of how the loss was found, a sentence each.
    """

    value: Value
    loss: str
    settings: dict[str, float] = field(default_factory=dict)
    weight: float = 1.0
    notes: tuple[str, ...] = ()
    name: str = ""


class Imported(Struct, eq=False):
    """A model: its inputs in order, its outputs in order, and how it is trained.

    Args:
        settings: lines of `train`, such as `optimizer sgd(lr = 0.1)`.
        notes: what a person should know of the spec, a sentence each.
        held: arrays of trained weights, where the file was read whole; those of Keras are read when needed.
        tables: what the file itself says of the parties' columns.
    """

    name: str
    columns: list[InputColumn]
    outputs: list[Output]
    settings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    held: dict[str, Any] | None = None
    tables: DescribedTables | None = None
