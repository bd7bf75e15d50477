"""What all containers of one Keras model share: its layers, each once, and what is counted and noted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vflc.importing.archive import Archive
from vflc.importing.keras_config import ValuesByTensor, config_of
from vflc.importing.keras_layer import Layer
from vflc.importing.keras_tables import KerasTables
from vflc.translation.graph import Value


class KerasParts:
    """The layers of a model.

    Args:
        archive: the file.
        tables: how its columns are encoded, where the file describes it.
    """

    def __init__(self, archive: Archive, tables: KerasTables | None) -> None:
        self.archive, self.tables = archive, tables
        self.notes: list[str] = []
        self.calls = 0
        self._layers: dict[tuple[str, ...], Layer] = {}

    def layer(self, entry: Mapping[str, Any], at: tuple[str, ...], path: str, calls: int) -> Layer:
        """The layer at a place, the same for each of its uses."""
        if at not in self._layers:
            self._layers[at] = Layer(
                str(entry["class_name"]), at[-1], config_of(entry), path, self.archive, 0
            )
        self._layers[at].calls = max(self._layers[at].calls, calls)
        return self._layers[at]

    def encoded(
        self, entry: Mapping[str, Any], node: Mapping[str, Any], given: list[Value], tensors: ValuesByTensor
    ) -> Value | None:
        """What a node makes of values of columns that the file describes; None where it reads none."""
        if self.tables is None or not any(value.op == "traced" for value in given):
            return None
        return self.tables.step(entry, node, given, tensors)
