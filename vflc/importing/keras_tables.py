"""The columns of a merged Keras export: its layers are held to what the encoders' own code makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vflc_common.words import PRECISIONS

from vflc.importing.declared import ENTRY
from vflc.importing.keras_config import ValuesByTensor, is_ours
from vflc.importing.tables import DescribedTables
from vflc.importing.traced import Trace, Traced
from vflc.translation.graph import Value, refuse

if TYPE_CHECKING:
    from vflc_runtime.export.raw import RawFeature

AGAIN = "export the model again: `vflc export RUN --format keras --merged -o FOLDER`"


class KerasTables(DescribedTables):
    """The parties and their columns, of the content of the file's entry; raises as `DescribedTables`."""

    def __init__(self, content: bytes) -> None:
        from vflc_runtime.export.keras_encoders import layer_name

        super().__init__(content, ENTRY, AGAIN)
        self._by_input = {layer_name(name): name for name in self._raw}
        self._wanted: dict[str, tuple[Trace, set[int]]] = {}

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
