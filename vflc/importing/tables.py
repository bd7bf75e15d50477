"""The columns of an exported model's inputs: as the file describes them, and as its graph shows them.

A description says of which columns an input is made, and what is done to it before the model takes it, which
no graph can show. What it says of the graph is not believed: the encoders' own code gives the graph that must
be there, and a file with another is refused.
"""

from __future__ import annotations

from typing import NoReturn

from vflc_common.encoder import IDS
from vflc_common.words import vector_width

from vflc.importing.declared import chain_text, declared, party_text, read_tables
from vflc.translation.graph import InputColumn, Value, refuse

UNITS = "The label's {} is part of the model here: errors are in the units of its column."


class DescribedTables:
    """The parties and their columns.

    Args:
        content: what the file says of them.
        where: it says it, in messages.
        again: how it is exported again.

    Raises:
        Refused: VFL0712, it does not hold together.
    """

    def __init__(self, content: bytes | str, where: str, again: str) -> None:
        from vflc_runtime.export.raw import raw_of

        self.parties, self._labels = read_tables(content, where)
        self.features: dict[str, InputColumn] = {}
        self.notes: list[str] = []
        self._raw, self._again = raw_of(self.parties, {}), again
        for name, raw in self._raw.items():
            text = chain_text(raw.encoders)
            self.features[name] = InputColumn(name, raw.type, (), [text] if text else [])

    @property
    def owner(self) -> dict[str, str]:
        return {name: raw.party for name, raw in self._raw.items()}

    @property
    def names(self) -> dict[str, str]:
        """What a feature is called at its party."""
        return {name: raw.column for name, raw in self._raw.items()}

    def _encoded(self, feature: str) -> Value:
        raw, column = self._raw[feature], self.features[feature]
        chain = tuple(column.encodings)
        kind = raw.shape if raw.shape in IDS else "float"
        shape = () if raw.shape in IDS else (vector_width(raw.type) or 1,)
        attrs = {"column": column, "chain": chain, "kind": kind, "rows": raw.rows, "length": raw.length}
        return Value("raw", (), shape, attrs)

    def _another(self, feature: str) -> NoReturn:
        refuse("VFL0712", f"the file's graph encodes `{feature}` otherwise than the file says", self._again)

    def label(self, output: str) -> tuple[str, str]:
        """The party and the column that an output predicts.

        Raises:
            Refused: VFL0704, the file names none.
        """
        label = self._labels.get(output)
        if label is None:
            refuse("VFL0704", f"the output `{output}` predicts no label", "predict what a loss learns")
        party, _, column = label.partition(".")
        return party, column

    def party(self, name: str) -> str:
        """The declaration of a party."""
        info = self.parties[name]
        for column in info["columns"]:
            if column["kind"] == "label" and declared(column)[1]:
                self.notes.append(UNITS.format(declared(column)[1]))
        return party_text(name, info)
