"""The spec of a model, as one table: parties with their columns, the graph, predictions, training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from vflc.importing.model import Imported, Output
from vflc.importing.owners import Owned, assigned, twice
from vflc.ops import FUNCTIONS
from vflc.translation.blocks import SpecWriter
from vflc.translation.graph import InputColumn, refuse
from vflc.translation.layers import encoded_name
from vflc.translation.names import RESERVED, Names, families, identifier, literal
from vflc.translation.text import AXES

if TYPE_CHECKING:
    from vflc.importing.tables import DescribedTables

TAKEN = (*RESERVED, *FUNCTIONS, *AXES, "value")
"""What no binding is called besides parties: words that mean something else where it is read."""
MADE = {"bce": "sigmoid({})", "cce": "softmax({})"}
"""The prediction that is made of a logit."""


class LabelColumn:
    """A label: its party, its column, and how the column is declared for a loss."""

    def __init__(self, party: str, column: str, output: Output) -> None:
        self.party, self.column = party, column
        types = (
            {"bce": "int", "cce": f"int -> index({output.value.shape[-1]})"}
            if output.value.shape
            else {"bce": "int"}
        )
        self.declared = f"label {column}: {types.get(output.loss, 'float')}"


def spec(
    model: Imported, owners: Owned, labels: Owned, key: str, source: str
) -> tuple[str, Mapping[str, str]]:
    """The text of a spec, not yet formatted, and where the file holds each weight of it.

    Args:
        model: what to write.
        owners: the columns of each party.
        labels: the label columns of each party, in the order of the model's outputs.
        key: the column that says which rows belong together.
        source: the file's name, for the head of the spec.

    Raises:
        Refused: VFL0702 to VFL0704.
    """
    if model.tables is not None:
        return _described(model, model.tables, owners or labels, source)
    if not owners:
        refuse(
            "VFL0702", "nobody owns the inputs of the model", "name their owners: --owner alice=UserID,Gender"
        )
    owner = assigned(model.columns, owners)
    columns = _columns(model.columns, owner)
    learned = _labels(model.outputs, labels)
    parties = list(dict.fromkeys([*owners, *(label.party for label in learned)]))
    names = {f"{label.party}.{label.column}" for label in learned}
    clashing = sorted(names & {f"{owner[raw]}.{name}" for raw, name in columns.items()})
    if clashing:
        refuse(
            "VFL0702",
            f"`{clashing[0]}` is an input of the model and its label",
            "give the label another column",
        )
    written = [_party(party, key, model.columns, owner, columns, learned) for party in parties]
    return _written(
        model,
        lambda: SpecWriter(model.columns, columns, owner, Names([*parties, *TAKEN])),
        written,
        learned,
        source,
    )


def _described(
    model: Imported, tables: DescribedTables, given: Owned, source: str
) -> tuple[str, Mapping[str, str]]:
    """The same of a file that says itself who has which columns."""
    if given:
        refuse(
            "VFL0713",
            "the file says itself who has which columns and labels",
            "leave out --owner and --label",
        )
    learned = [LabelColumn(*tables.label(output.name), output) for output in model.outputs]
    taken = [*tables.parties, *TAKEN]
    parties = [tables.party(name) for name in tables.parties]
    model.notes += tables.notes
    return _written(
        model,
        lambda: SpecWriter(model.columns, tables.names, tables.owner, Names(taken)),
        parties,
        learned,
        source,
    )


def _written(
    model: Imported,
    make: Callable[[], SpecWriter],
    parties: Sequence[str],
    learned: Sequence[LabelColumn],
    source: str,
) -> tuple[str, Mapping[str, str]]:
    values, losses = [output.value for output in model.outputs], [output.loss for output in model.outputs]
    graph, bound = SpecWriter.written(make, values, losses)
    blocks = [_head(model, source), *parties, *(block.text for block in graph.blocks)]
    blocks += ["\n".join(graph.lines), _learning(model.outputs, learned, bound, graph.penalties)]
    if model.settings:
        blocks.append("train {\n" + "\n".join(model.settings) + "\n}")
    return "\n\n".join(blocks) + "\n", graph.weights


def _head(model: Imported, source: str) -> str:
    notes = dict.fromkeys([*model.notes, *(note for output in model.outputs for note in output.notes)])
    said = [plain(line) for line in (f"Imported from {source} by `vflc import`.", *notes)]
    return "\n".join(f"# {line}" for each in said for line in wrap(each, 108, break_long_words=False))


def plain(text: str) -> str:
    """What a file's names are part of, in one line: a comment must not end where they say."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _columns(columns: Sequence[InputColumn], owner: Mapping[str, str]) -> dict[str, str]:
    """The name in the spec of every column of the model; VFL0702 where two would have one name."""
    found = {name: identifier(name) for column in columns for name in column.members}
    again = twice([f"{owner[raw]}.{name}" for raw, name in found.items()])
    if again:
        refuse(
            "VFL0702",
            f"two inputs of the model are `{again[0]}` in a spec",
            "name its inputs by letters and digits",
        )
    return found


def _labels(outputs: Sequence[Output], labels: Owned) -> list[LabelColumn]:
    given = [(party, name) for party, names in labels.items() for name in names]
    if len(given) != len(outputs):
        message = (
            f"the model has {len(outputs)} output{'s' * (len(outputs) != 1)}, and --label names {len(given)}"
        )
        refuse(
            "VFL0704", message, "name the column that each output predicts, in their order: --label bob=liked"
        )
    again = twice([name for _, name in given])
    if again:
        refuse("VFL0704", f"two outputs have the label `{again[0]}`", "give each a column of its own")
    wrong = next((name for _, name in given if name != identifier(name)), None)
    if wrong is not None:
        refuse("VFL0704", f"`{wrong}` is not a name of a column in a spec", f"name it {identifier(wrong)}")
    return [LabelColumn(party, name, output) for (party, name), output in zip(given, outputs, strict=True)]


def _party(
    party: str, key: str, columns: Sequence[InputColumn], owner: Mapping[str, str], names: Mapping[str, str],
    labels: Sequence[LabelColumn],
) -> str:  # fmt: skip
    lines = [f"party {party} {{", f"key {key}"]
    for column in columns:
        own = [names[name] for name in column.members if owner[name] == party]
        for text, _ in families(own) if len(column.members) > 1 else [(name, []) for name in own]:
            lines += _declared(column, text)
    lines += [label.declared for label in labels if label.party == party]
    return "\n".join([*lines, "}"])


def _declared(column: InputColumn, name: str) -> list[str]:
    """A feature; a column and a feature for each, where the model encodes it in several ways."""
    chains = column.encodings or [""]
    if len(chains) == 1:
        return [f"feature {name}: {column.type}" + (f" -> {chains[0]}" if chains[0] else "")]
    if "{" in name:
        refuse(
            "VFL0702",
            f"the model encodes the vector `{column.name}` in {len(chains)} ways",
            "give it an input for each",
        )
    return [f"column {name}: {column.type}"] + [
        f"feature {encoded_name(column, name, chain)} = {name}" + (f" -> {chain}" if chain else "")
        for chain in chains
    ]


def _learning(
    outputs: Sequence[Output], labels: Sequence[LabelColumn], bound: Sequence[str], penalties: Sequence[str]
) -> str:
    """Predictions and the objective."""
    predictions, terms = [], []
    for output, label, name in zip(outputs, labels, bound, strict=True):
        predictions.append(f"predict {label.column} = {MADE.get(output.loss, '{}').format(name)}")
        settings = "".join(f", {key} = {literal(value)}" for key, value in output.settings.items())
        weight = "" if output.weight == 1 else f"{literal(output.weight)} * "
        terms.append(f"{weight}{output.loss}({name}, {label.party}.{label.column}{settings})")
    return "\n".join([*predictions, f"objective {' + '.join([*terms, *penalties])}"])
