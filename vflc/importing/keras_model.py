"""A Keras 3 model from its configuration: functional and sequential ones, nested in any depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vflc.importing.archive import Archive
from vflc.importing.declared import ENTRY
from vflc.importing.keras_config import check_known, config_of
from vflc.importing.keras_container import Container
from vflc.importing.keras_parts import KerasParts
from vflc.importing.keras_tables import KerasTables
from vflc.translation import columns
from vflc.translation.graph import DAMAGED, InputColumn, Value, refuse


class KerasModelReader:
    """Reads layers one by one and keeps what the whole model needs.

    Args:
        archive: the file.
    """

    def __init__(self, archive: Archive) -> None:
        self.columns: list[InputColumn] = []
        self.name = str(config_of(archive.config).get("name", "model"))
        self.tables = KerasTables(archive.content(ENTRY)) if ENTRY in archive else None
        self.parts = KerasParts(archive, self.tables)
        check_known(archive.config, encoding=self.tables is not None)
        self.outputs: list[tuple[str, Value]] = self._whole(archive.config)

    def _whole(self, entry: Mapping[str, Any]) -> list[tuple[str, Value]]:
        """Outputs of the model by their names."""
        inner = Container(self.parts, entry, (), "")
        given = [self._input(each) for each in inner.inputs()]
        made = inner.call(given)
        names = inner.output_names()
        found = list(made.values()) if isinstance(made, dict) else made if isinstance(made, list) else [made]
        names = list(made) if isinstance(made, dict) else names
        if len(names) != len(found) or not all(isinstance(value, Value) for value in found):
            refuse("VFL0700", "the model does not say what its outputs are", DAMAGED)
        return [(name, columns.numeric(value, name)) for name, value in zip(names, found, strict=True)]

    def _input(self, entry: Mapping[str, Any]) -> Value:
        config = config_of(entry)
        if self.tables is None:
            return columns.raw(self._column(entry))
        self.columns = [*self.tables.features.values()]
        shape = config.get("batch_shape")
        return self.tables.input(
            str(config.get("name")), str(config.get("dtype")), len(shape) if isinstance(shape, list) else 0
        )

    def _column(self, entry: Mapping[str, Any]) -> InputColumn:
        config = config_of(entry)
        name, shape = str(config.get("name")), config.get("batch_shape") or config.get("batch_input_shape")
        if not isinstance(shape, list) or not shape:
            refuse("VFL0700", f"the input `{name}` has no shape", DAMAGED)
        if config.get("sparse") or config.get("ragged") or config.get("optional"):
            refuse(
                "VFL0701", f"the input `{name}` is sparse, ragged or optional", "give the model a dense input"
            )
        if shape[0] is not None:
            refuse(
                "VFL0703",
                f"the input `{name}` fixes the batch to {shape[0]}",
                "leave the batch open: shape, not batch_shape",
            )
        if not all(isinstance(size, int) and 1 <= size <= 10_000 for size in shape[1:]):
            refuse(
                "VFL0703",
                f"the input `{name}` has axes of no fixed size: {shape[1:]}",
                "fix the size; rows of many values are split by the spec: split(…) -> vocab(…)",
            )
        dtype = str(config.get("dtype", "float32"))
        kind = (
            "string" if dtype == "string" else "int" if dtype.startswith(("int", "uint", "bool")) else "float"
        )
        column = InputColumn(name, kind, tuple(shape[1:]))
        self.columns.append(column)
        return column
