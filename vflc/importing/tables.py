"""The columns of an exported model's inputs: as the file describes them, and as its graph shows them.

A description says of which columns an input is made, and what is done to it before the model takes it, which
no graph can show. What it says of the graph is not believed: the encoders' own code gives the graph that must
be there, and a file with another is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from vflc_common.words import PRECISIONS

from vflc.importing.declared import chain_text, declared, party_text, read_tables
from vflc.importing.keras_config import ValuesByTensor, is_ours
from vflc.importing.traced import Trace, Traced
from vflc.translation.graph import InputColumn, Value, refuse

if TYPE_CHECKING:
    from vflc_runtime.export.raw import RawFeature

AGAIN = "export the model again: `vflc export RUN --format keras --merged -o FOLDER`"
UNITS = "The label's {} is part of the model here: errors are in the units of its column."


class DescribedTables:
    """The parties and their columns.

    Args:
        content: of the file's entry.

    Raises:
        Refused: VFL0712, it does not hold together.
    """

    def __init__(self, content: bytes) -> None:
        from vflc_runtime.export.keras_encoders import layer_name
        from vflc_runtime.export.raw import raw_of

        self.parties, self._labels = read_tables(content)
        self.features: dict[str, InputColumn] = {}
        self.notes: list[str] = []
        self._raw = raw_of(self.parties, {})
        self._by_input = {layer_name(name): name for name in self._raw}
        self._wanted: dict[str, tuple[Trace, set[int]]] = {}
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

    # --- inputs of the graph --------------------------------------------------------------------------

    def input(self, name: str, dtype: str, rank: int) -> Value:
        """What an input of the graph is: a value of which encoders are traced, or all that they give."""
        if name not in self._by_input:
            refuse("VFL0712", f"the file does not say of which column its input `{name}` is made", AGAIN)
        feature = self._by_input[name]
        raw = self._raw[feature]
        for cut in _cuts(raw):
            if _takes(cut, dtype, rank):
                if cut.encoded:
                    return self._encoded(feature)
                trace = Trace()
                start = trace.input(dtype)
                self._wanted[feature] = trace, _built(cut, trace, start)
                return self._traced(feature, start)
        refuse("VFL0712", f"the input `{name}` is no {raw.type} as its encoders take it, but {dtype}", AGAIN)

    def step(
        self,
        entry: Mapping[str, Any],
        node: Mapping[str, Any],
        given: Sequence[Value],
        tensors: ValuesByTensor,
    ) -> Value:
        """What a node makes of values that are traced."""
        features = {value.attrs.get("feature") for value in given}
        feature = next(str(name) for name in features if name is not None)
        if len(features) > 1 or not is_ours(entry):
            self._another(feature)
        trace, _ = self._wanted[feature]
        return self._traced(
            feature, trace.read(entry, node, lambda at: tensors[at[0], at[1], at[2]].attrs["traced"])
        )

    def _traced(self, feature: str, traced: Traced) -> Value:
        if traced.number in self._wanted[feature][1]:
            return self._encoded(feature)
        return Value("traced", attrs={"feature": feature, "traced": traced})

    def _encoded(self, feature: str) -> Value:
        raw, column = self._raw[feature], self.features[feature]
        chain = tuple(column.encodings)
        kind = {"id": "id", "ids": "ids", "number": "float"}[raw.shape]
        shape = (1,) if raw.shape == "number" else ()
        return Value("raw", (), shape, {"column": column, "chain": chain, "kind": kind, "rows": raw.rows})

    def _another(self, feature: str) -> NoReturn:
        refuse("VFL0712", f"the file's graph encodes `{feature}` otherwise than the file says", AGAIN)

    # --- the spec -----------------------------------------------------------------------------------------

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


def _cuts(raw: RawFeature) -> list[RawFeature]:
    """Ways to leave a part of a column's encoders to the caller, as exports try them."""
    from vflc_common.encoding import NotExpressed
    from vflc_runtime.export.keras_encoders import check_keras

    found = []
    for cut in raw.cuts():
        try:
            cut.check()
            check_keras(cut)
        except NotExpressed:
            continue
        found.append(cut)
    return [*found, raw.all_before()]


def _takes(cut: RawFeature, dtype: str, rank: int) -> bool:
    from vflc_runtime.export.description import signature

    precision = dtype if dtype in PRECISIONS else "float32"
    type, shape = signature(cut, precision)
    return (type, len(shape)) == (dtype, rank)


def _built(cut: RawFeature, trace: Trace, start: Traced) -> set[int]:
    """What the encoders of a cut make of its input, in either precision."""
    from vflc_runtime.export.keras_encoders import KerasEncoding

    return {KerasEncoding(cut, precision, trace).build(start).number for precision in PRECISIONS}
