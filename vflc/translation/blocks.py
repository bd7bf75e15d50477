"""Writes what repeats in a model as blocks and their uses; `repeats` finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from vflc.ops import FUNCTIONS
from vflc.translation.embedding_groups import EmbeddingGroup
from vflc.translation.expressions import GraphWriter
from vflc.translation.graph import InputColumn, Value
from vflc.translation.names import RESERVED, Names
from vflc.translation.pieces import BlockUse, PartKeys, RepeatedBlock, SpecPiece, pieces_of, side_by_side
from vflc.translation.repeats import with_blocks
from vflc.translation.structure import Structures, find
from vflc.translation.text import ATOM, AXES, Axes, Text, flat

RESULT = "return"
"""What the result of a block is bound to while it is written: a word that no name may be."""


class Unlike(Exception):
    """Uses of a block that are not the same text."""

    def __init__(self, block: RepeatedBlock) -> None:
        super().__init__(block.name)
        self.block = block


class SpecWriter(GraphWriter):
    """Writes a model with blocks for what it repeats.

    Args:
        columns, names, owner, fresh: see `Bindings`.
    """

    def __init__(
        self, columns: Sequence[InputColumn], names: Mapping[str, str], owner: Mapping[str, str], fresh: Names
    ) -> None:
        super().__init__(columns, names, owner, fresh)
        self.blocks: list[RepeatedBlock] = []
        self._axes: dict[tuple[int, str], Axes] = {}

    @classmethod
    def written(
        cls, make: Callable[[], SpecWriter], outputs: Sequence[Value], losses: Sequence[str]
    ) -> tuple[SpecWriter, list[str]]:
        """A writer that has written, and the names of the outputs."""
        found, refused = find(outputs), set[PartKeys]()
        while True:
            writer = make()
            try:
                return writer, writer.write_structures(found, outputs, losses, refused)
            except Unlike as unlike:
                refused.add(unlike.block.results)

    def write_structures(
        self, found: Structures, outputs: Sequence[Value], losses: Sequence[str], refused: set[PartKeys]
    ) -> list[str]:
        """The names of the outputs; Raises `Unlike` where a block that is not `refused` is none."""
        self._found = found
        pieces, blocks = with_blocks(pieces_of(found), outputs, refused)
        for block in blocks:
            block.name = self.fresh.fresh(block.name)
        results = set(map(id, outputs))
        for piece in pieces.values():
            if piece.use is not None and piece.use.name and piece.key in results:
                self._results[piece.key] = self._use_name(piece, piece.use)
        self._name_results(outputs, losses)
        self._write_pieces(pieces.values())
        return [self._name_output(value) for value in outputs]

    def _write_pieces(self, pieces: Iterable[SpecPiece]) -> None:
        for piece in pieces:
            self._write_piece(piece)

    def _write_piece(self, piece: SpecPiece) -> None:
        if piece.part:
            assert piece.use is not None
            self._texts[piece.key] = self._part_of(piece, self._texts[id(piece.use)])
        elif piece.use is not None:
            self._texts[piece.key] = self._write_use(piece, piece.use)
        elif piece.group is None:
            self._texts[piece.key] = self._bound(piece.value, self._text(piece.value))
        elif piece.covers:
            self._text_of_group(piece.group, self._group(piece.group))

    def _text_of_group(self, group: EmbeddingGroup, name: str) -> None:
        """Each of its members has the text of all: none is read by itself."""
        text = Text(name, ATOM, flat(group.members[0].attrs["dim"]))
        self._texts |= dict.fromkeys(map(id, group.members), text)

    # --- uses of blocks -------------------------------------------------------------------------------

    def _write_use(self, piece: SpecPiece, use: BlockUse) -> Text:
        """A binding of its own: what the block makes for these inputs."""
        given = [self._argument(piece.key, place, each) for place, each in enumerate(use.inputs)]
        taken = [*RESERVED, *AXES, *FUNCTIONS, *(each.name for each in self.blocks), *use.block.parameters]
        body = BodyWriter(self, use, given, Names(taken))
        text = body.text()
        if use.block not in self.blocks:
            use.block.text = text
            self.blocks.append(use.block)
        elif text != use.block.text:
            raise Unlike(use.block)
        settings = [f"{name} = {self._said(piece.key, name, said)}" for name, said in use.settings.items()]
        call = f"{use.block.name}({', '.join([*(t.text for t in given), *settings])})"
        name = self._results.get(piece.key) or self._use_name(piece, use)
        self.weights |= {f"{name}.{weight}": at for weight, at in body.weights.items()}
        self._axes |= {(id(use), part): axes for part, axes in body.axes.items()}
        axes = next(iter(body.axes.values())) if len(body.axes) == 1 else ()
        return self._bind(name, Text(call, ATOM, axes))

    def _part_of(self, piece: SpecPiece, use: Text) -> Text:
        """One of the values that a use gives."""
        text = Text(f"{use.text}.{piece.part}", ATOM, self._axes[id(piece.use), piece.part])
        return self._bind(self._results[piece.key], text) if piece.key in self._results else text

    def _use_name(self, piece: SpecPiece, use: BlockUse) -> str:
        stem = use.block.name.lower()
        name = self._named(piece.key, use.name or None) or stem
        return self.fresh.fresh(name if name == stem or self.fresh.free(name) else f"{stem}_{name}")

    def _argument(self, key: int, place: int, piece: SpecPiece) -> Text:
        """What a use gives its block."""
        if piece.group is None:
            return self._texts[piece.key]
        return Text(self._group(piece.group) if piece.covers else self._fields(piece.group), ATOM, ())


class BodyWriter(SpecWriter):
    """Writes a block, as one of its uses has it.

    Args:
        around: writes what the use stands in.
        use: of the block.
        given: what the use gives the block.
        fresh: names that are still free in the block.
    """

    def __init__(self, around: SpecWriter, use: BlockUse, given: Sequence[Text], fresh: Names) -> None:
        super().__init__(around.columns, around.names, around.owner, fresh)
        self._found, self.blocks, self._use = around._found, around.blocks, use
        self.axes: dict[str, Axes] = {}
        self._parameters: dict[int, str] = {}
        self._stand: list[Value] = []
        for piece, text, name in zip(use.inputs, given, use.block.parameters, strict=False):
            self._stand.append(replace(piece.value))
            self._parameters[id(self._stand[-1])] = name
            self._texts[id(self._stand[-1])] = Text(name, ATOM, text.axes)
            if piece.group is not None and piece.covers:
                self._grouped[piece.key] = name
                self._text_of_group(piece.group, name)
            elif piece.group is not None:
                self._parameters[piece.key] = name

    def text(self) -> str:
        """The block."""
        (first, *more) = self._use.results.values()
        if first.use is None and not more:  # weights of a block that ends in another would share its names
            self._results[first.key] = RESULT
        self._write_pieces(self._use.members)
        results = {name: self._texts[piece.key] for name, piece in self._use.results.items()}
        if more:
            record = ", ".join(f"{name} = {text.text}" for name, text in results.items())
            self.lines.append(f"{RESULT} {{ {record} }}")
        elif (result := self._texts[first.key]).text == RESULT:
            self.lines[-1] = self.lines[-1].replace(f"{RESULT} = ", f"{RESULT} ", 1)
        else:
            self.lines.append(f"{RESULT} {result.text}")
        self.weights = {name.removeprefix(f"{RESULT}."): at for name, at in self.weights.items()}
        self.axes = {name: text.axes for name, text in results.items()}
        body, block = "".join(f"  {line}\n" for line in self.lines), self._use.block
        return f"block {block.name}({', '.join(block.parameters)}) {{\n{body}}}"

    def _write_piece(self, piece: SpecPiece) -> None:
        """Reads the parameters while the piece is written, one by one: a use may give one value for two."""
        chain = self._found.chains.get(piece.key)
        reader = chain.layers[0] if chain else piece.value
        inputs = reader.inputs
        if piece.use is None and piece.group is None:
            reader.inputs = tuple(self._standing(piece, reader))
        try:
            super()._write_piece(piece)
        finally:
            reader.inputs = inputs

    def _standing(self, piece: SpecPiece, reader: Value) -> Iterator[Value]:
        for place, values in enumerate(side_by_side(reader.inputs, self._found)):
            at = self._use.reads.get((piece.key, place)) if len(values) == 1 else None
            yield from values if at is None else [self._stand[at]]

    def _argument(self, key: int, place: int, piece: SpecPiece) -> Text:
        at = self._use.reads.get((key, place))
        return super()._argument(key, place, piece) if at is None else self._texts[id(self._stand[at])]

    def _named(self, key: int, name: str | None) -> str | None:
        return self._use.names.get(key)

    def _said(self, key: int, setting: str, text: str) -> str:
        return self._use.said.get((key, setting), text)

    def _parameter(self, key: int) -> str | None:
        return self._parameters.get(key)
