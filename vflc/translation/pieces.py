"""A model as pieces: what a spec writes as one expression, what it reads, and what may differ in a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from vflc.translation.embedding_groups import EmbeddingGroup
from vflc.translation.graph import Value
from vflc.translation.names import literal
from vflc.translation.structure import DenseChain, Structures

MADE_ONCE = ("embed", "dense", "batch_norm", "layer_norm", "weight")
"""Operations with weights: a line of their own each."""
PLAIN = ("number", "weight", "reshape")
"""What is no operation of a block by itself."""
SETTINGS = {"dense": ("units", "activation"), "embed": ("dim",), "dropout": ("rate",)}
"""What two of a kind may differ in, and a block takes as a parameter."""


class SpecPiece(Struct, eq=False):
    """A value, a chain of layers, embeddings side by side, columns, or a use of a block.

    Args:
        key: the `id` of its value, of its group, of the columns of its group, or of its use.
        kind: equal for pieces that compute the same way; None where it cannot be part of a block.
        value: that it gives; of embeddings and columns the first.
        inputs: the keys of what it reads, in order.
        settings: as a spec writes them, by name.
        name: a person's, with that of the model around it; "" where nobody gave one.
        group: of embeddings, and of their columns.
        covers: the `id` of each value that is not written by itself.
        line: whether it has a line of its own wherever it stands.
        use: of a block, where it is one or a part of what it gives.
        part: the name of that part.
    """

    key: int
    kind: Any
    value: Value
    inputs: tuple[int, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    group: EmbeddingGroup | None = None
    covers: tuple[int, ...] = ()
    line: bool = False
    use: BlockUse | None = None
    part: str = ""

    @property
    def plain(self) -> bool:
        """Whether it is hardly an operation."""
        return self.value.op in PLAIN or (self.value.op in ("concat", "stack") and len(self.inputs) == 1)

    @property
    def result(self) -> bool:
        """Whether a block may give it; embeddings side by side are read in more than one form."""
        several = self.use is not None and len(self.use.results) > 1
        return self.group is None and not self.plain and not several


class RepeatedBlock(Struct, eq=False):
    """A structure that occurs several times.

    Args:
        uses: in order.
        name: in the spec.
        parameters: for what its uses read, and for what they differ in.
        text: once it is written.
        results: the keys by which it was found.
    """

    uses: list[BlockUse] = field(default_factory=list)
    name: str = ""
    parameters: tuple[str, ...] = ()
    text: str = ""
    results: PartKeys = ()


class BlockUse(Struct, eq=False):
    """One of its occurrences.

    Args:
        members: its pieces in order.
        results: those of them that it gives, by their names in a record where they are several.
        inputs: what it reads, in the order of the parameters.
        reads: the place among them of what a piece reads, by the piece's key and the place there.
        settings: in which uses differ, as a spec writes them, by their parameters.
        said: the parameter for a setting of a piece, by the piece's key and the setting's name.
        names: of pieces inside, by their keys; the same in every use.
        name: of the use; "" where no names tell uses apart.
    """

    block: RepeatedBlock
    members: list[SpecPiece]
    results: dict[str, SpecPiece]
    inputs: list[SpecPiece] = field(default_factory=list)
    reads: dict[tuple[int, int], int] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    said: dict[tuple[int, str], str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    name: str = ""


SpecPieces = Mapping[int, SpecPiece]
"""By their keys, each after what it reads."""
PartKeys = tuple[int, ...]
"""Of one piece in each use of a block."""


def pieces_of(found: Structures) -> dict[int, SpecPiece]:
    """All pieces of a model, each after what it reads."""
    pieces: dict[int, SpecPiece] = {}
    for value in found.values:
        group = found.groups.get(id(value))
        if group is not None:
            for piece in _embeddings(group) if id(group) not in pieces else ():
                pieces[piece.key] = piece
        elif id(value) not in found.inside:
            chain = found.chains.get(id(value))
            pieces[id(value)] = _chain(chain) if chain else _single(value, found)
    return pieces


def _single(value: Value, found: Structures) -> SpecPiece:
    open_ = SETTINGS.get(value.op, ())
    attrs = {key: setting for key, setting in value.attrs.items() if key not in open_ and key != "rows"}
    told = value.op == "weight" or (value.op == "reshape" and len(value.shape) > 1)
    shaped = value.shape if told else len(value.shape)
    inputs = tuple(_read(value, found))
    return SpecPiece(
        id(value),
        (value.op, shaped, len(inputs), repr(sorted(attrs.items()))) if _repeatable(value) else None,
        value,
        inputs,
        {key: _written(value.attrs[key]) for key in open_},
        _path(value.scope, value.layer if value.named else ""),
        covers=(id(value),),
        line=value.op in MADE_ONCE or value.named,
    )


def _repeatable(value: Value) -> bool:
    """Whether a block may make it: no column, no weights of which others read, no term of the objective."""
    if value.op == "feature" or value.many or "penalty" in value.attrs:
        return False
    return value.op not in ("embed", "one_hot") or len(value.inputs[0].attrs["column"].members) == 1


def _read(value: Value, found: Structures) -> Iterator[int]:
    """PartKeys of what a value reads."""
    for given, *_ in side_by_side(value.inputs, found):
        yield id(found.groups.get(id(given), given))


def side_by_side(values: Sequence[Value], found: Structures) -> Iterator[list[Value]]:
    """Values one by one, and the embeddings of a group together."""
    run = list[Value]()
    for value in values:
        group = found.groups.get(id(value))
        if run and (group is None or group is not found.groups.get(id(run[0]))):
            yield run
            run = []
        run.append(value)
    if run:
        yield run


def _chain(chain: DenseChain) -> SpecPiece:
    first, last = chain.layers[0], chain.layers[-1]
    a, usual = last.attrs, first.attrs["activation"]
    ends = a["activation"] if a["activation"] != usual else None
    units = f"[{', '.join(str(layer.attrs['units']) for layer in chain.layers)}]"
    return SpecPiece(
        id(last),
        ("mlp", len(last.shape), ends, chain.dropout, a["bias"]),
        last,
        (id(first.inputs[0]),),
        {"units": units, "activation": usual},
        _path(last.scope, chain.name or ""),
        covers=(id(last),),
        line=True,
    )


def _embeddings(group: EmbeddingGroup) -> tuple[SpecPiece, SpecPiece]:
    """The columns that are embedded, and their embeddings."""
    first = group.members[0]
    mean = any(v.attrs.get("combiner") == "mean" for v in group.members)
    kind = ("embeddings", first.attrs["init"], first.attrs.get("scale"), mean)
    columns = SpecPiece(id(group.fields), None, first.inputs[0], group=group)
    return columns, SpecPiece(
        id(group),
        None if "penalty" in first.attrs or any(v.many for v in group.members) else kind,
        first,
        (columns.key,),
        {"dim": str(first.attrs["dim"])},
        _path(first.scope, group.name or ""),
        group,
        tuple(map(id, group.members)),
        line=True,
    )


def _written(setting: Any) -> str:
    return setting if isinstance(setting, str) else literal(setting)


def _path(scope: str, name: str) -> str:
    return f"{scope}.{name}".strip(".")


def readers(pieces: SpecPieces, outputs: Sequence[Value]) -> dict[int, int]:
    """How often each piece is read; once more by the world where it is an output."""
    found = dict.fromkeys(pieces, 0)
    for key in (*(key for piece in pieces.values() for key in piece.inputs), *map(id, outputs)):
        found[key] += 1
    return found
