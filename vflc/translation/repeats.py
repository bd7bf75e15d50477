"""What a model has twice or more: parts of the same operations, each with other weights and other inputs.

A part has one result, and everything else in it is read in it alone. Parts are found from their results: all
pieces of a kind are compared at once, input by input. Where they differ, the input is left out, and groups
that agree are compared again by themselves. The best are taken together first, as one piece each, so that
blocks use blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from vflc.translation.graph import Value
from vflc.translation.growth import Growth, Repeat
from vflc.translation.names import RESERVED, Names
from vflc.translation.outlets import result_sets
from vflc.translation.pieces import BlockUse, PartKeys, RepeatedBlock, SpecPiece, SpecPieces, readers
from vflc.translation.stems import stems
from vflc.translation.text import AXES

MOST_INPUTS, MOST_SETTINGS = 4, 3
"""Parameters of a block that is still easy to read."""
MOST_TRIES = 2_000
"""Sets of results that are compared in a model; what is found by then is chosen from."""
LETTERS = ("x", "y", "z", "w")
FIELDS = "fields"
"""Names for what a block reads that has no name."""


def with_blocks(
    pieces: SpecPieces, outputs: Sequence[Value], refused: set[PartKeys]
) -> tuple[SpecPieces, list[RepeatedBlock]]:
    """The pieces with uses of blocks in the place of what repeats; and the blocks, each after those in it.

    Args:
        pieces: of the whole model.
        outputs: of the model.
        refused: results of structures that are not to be blocks.
    """
    blocks = list[RepeatedBlock]()
    while (repeat := best(pieces, outputs, refused)) is not None:
        blocks.append(_block(repeat, pieces))
        pieces = _taken_together(blocks[-1], pieces)
    return pieces, blocks


def _block(repeat: Repeat, pieces: SpecPieces) -> RepeatedBlock:
    """The block of what repeats, and its uses."""
    members = [[pieces[key] for key in keys] for keys in repeat.members]
    inputs = [[pieces[key] for key in keys] for keys in repeat.inputs]
    named = stems(
        [[piece.name for piece in row] for row in members],
        [[piece.name for piece in row] for row in inputs],
        "bottom" if repeat.results > 1 else "tower",
        "layers" if any(piece.value.weights for piece, *_ in members) else "part",
    )
    block, taken = RepeatedBlock(name=named.stem.capitalize()), Names([*RESERVED, *AXES])
    block.results, fields = repeat.members[0], _fields(repeat, members, named.parts)
    letters = iter(LETTERS)
    given = [
        taken.fresh(part or (FIELDS if row[0].group and not row[0].covers else next(letters)))
        for part, row in zip(named.inputs, inputs, strict=True)
    ]
    settings = _settings(members, taken)
    block.parameters = (*given, *settings.values())
    order = {key: place for place, key in enumerate(pieces)}
    for at, name in enumerate(named.uses):
        mine = sorted((row[at] for row in members), key=lambda piece: order[piece.key])
        use = BlockUse(block, mine, {name: row[at] for name, row in zip(fields, members, strict=False)})
        use.inputs, use.name = [row[at] for row in inputs], name
        use.names = {row[at].key: part for row, part in zip(members, named.parts, strict=True) if part}
        for row in members:
            for place, read in enumerate(zip(*(piece.inputs for piece in row), strict=True)):
                if read in repeat.inputs:
                    use.reads[row[at].key, place] = repeat.inputs.index(read)
            for setting in row[at].settings:
                differs = settings.get((setting, tuple(piece.settings[setting] for piece in row)))
                if differs is not None:
                    use.said[row[at].key, setting] = differs
                    use.settings[differs] = row[at].settings[setting]
        block.uses.append(use)
    return block


def _fields(repeat: Repeat, members: Sequence[Sequence[SpecPiece]], names: Sequence[str]) -> list[str]:
    """Names of the results: their own, or what they are of the nearest value that has one."""
    taken, found = Names([*RESERVED, *AXES]), list[str]()
    known = {row[0].key: (row[0], name) for row, name in zip(members, names, strict=True)}
    for piece, *_ in members[: repeat.results]:
        at, name, made = piece, known[piece.key][1], list[str]()
        while not name:
            made += [] if at.plain else [at.value.op]
            below = next((key for key in at.inputs if key in known), None)
            if below is None:
                break
            at, name = known[below]
        found.append(taken.fresh("_".join([*([name] if name else []), *made[:2][::-1]])))
    return found


def _settings(members: Sequence[Sequence[SpecPiece]], taken: Names) -> dict[tuple[str, tuple[str, ...]], str]:
    """A parameter for each setting in which uses differ; the same for settings that are equal in all uses."""
    found: dict[tuple[str, tuple[str, ...]], str] = {}
    for row in members:
        for name in row[0].settings:
            values = tuple(piece.settings[name] for piece in row)
            if len(set(values)) > 1 and (name, values) not in found:
                found[name, values] = taken.fresh(name)
    return found


def _taken_together(block: RepeatedBlock, pieces: SpecPieces) -> SpecPieces:
    """The pieces with uses of a block for their members."""
    inside = {piece.key for use in block.uses for piece in use.members}
    found = {key: piece for key, piece in pieces.items() if key not in inside}
    for use in block.uses:
        (first, *more) = use.results.values()
        kind = ("use", id(block))
        inputs = tuple(given.key for given in use.inputs)
        key = id(use) if more else first.key
        found[key] = SpecPiece(key, kind, first.value, inputs, use.settings, use.name, line=True, use=use)
        for name, piece in use.results.items() if more else ():
            found[piece.key] = SpecPiece(piece.key, None, piece.value, (key,), part=name, use=use)
    return _in_order(found, [*pieces])


def _in_order(found: SpecPieces, before: Sequence[int]) -> SpecPieces:
    """Each after what it reads, and otherwise as they were."""
    done: dict[int, SpecPiece] = {}
    stack = [key for key in before if key in found][::-1]
    while stack:
        missing = [key for key in found[stack[-1]].inputs if key not in done]
        if missing:
            stack += missing[::-1]
        else:
            done.setdefault(key := stack.pop(), found[key])
    return done


def best(pieces: SpecPieces, outputs: Sequence[Value], refused: set[PartKeys]) -> Repeat | None:
    """The repetition that is worth a block most; None where there is none."""
    found = [each for each in _all(pieces, outputs) if each.members[0] not in refused]
    found = [each for each in found if _worth(each, pieces)]
    found.sort(key=lambda each: (-_saved(each, pieces), -len(each.members)))
    for each in found:
        if not any(_only_twice_in(each, other) for other in found if other is not each):
            return each
    return None


def _saved(repeat: Repeat, pieces: SpecPieces) -> int:
    return (repeat.count - 1) * _operations(repeat, pieces)


def _operations(repeat: Repeat, pieces: SpecPieces) -> int:
    return sum(not pieces[keys[0]].plain for keys in repeat.members)


def _worth(repeat: Repeat, pieces: SpecPieces) -> bool:
    """Whether it is more than a line, and no less readable than what it stands for."""
    first = [pieces[keys[0]] for keys in repeat.members]
    lines = sum(piece.line for piece in first[repeat.results :]) + repeat.results
    saved = repeat.count * lines - (lines + 2 + repeat.count)
    settings = {
        (name, tuple(pieces[key].settings[name] for key in keys))
        for keys in repeat.members
        for name in pieces[keys[0]].settings
    }
    differ = sum(len(set(values)) > 1 for _, values in settings)
    return (
        lines > 1
        and (_operations(repeat, pieces) > 2 or saved >= 0)
        and len(repeat.inputs) <= MOST_INPUTS
        and differ <= MOST_SETTINGS
    )


def _only_twice_in(repeat: Repeat, other: Repeat) -> bool:
    """Whether all its parts lie in those of a larger one, and no more than two in each."""
    within = {key for keys in other.members for key in keys}
    inside = all(key in within for keys in repeat.members for key in keys)
    return inside and other.count < repeat.count <= 2 * other.count


# --- finding ------------------------------------------------------------------------------------------


def _all(pieces: SpecPieces, outputs: Sequence[Value]) -> Iterator[Repeat]:
    read = readers(pieces, outputs)
    order = {key: place for place, key in enumerate(pieces)}
    classes: dict[object, list[int]] = {}
    for piece in pieces.values():
        if piece.kind is not None and piece.result:
            classes.setdefault(piece.kind, []).append(piece.key)
    waiting = _with_tops((tuple(keys) for keys in classes.values() if len(keys) > 1), pieces)
    tried = set[PartKeys]()
    while waiting and len(tried) < MOST_TRIES:
        results = waiting.pop()
        if results not in tried:
            tried.add(results)
            growth = Growth([results], pieces, read, order)
            yield growth.repeat
            waiting += growth.groups
            waiting += [
                top for keys in growth.groups if len(top := _tops(keys, pieces)) in range(2, len(keys))
            ]
    for several in result_sets(pieces, outputs):
        yield Growth(several, pieces, read, order).repeat


def _with_tops(groups: Iterable[PartKeys], pieces: SpecPieces) -> list[PartKeys]:
    """Groups of results; and of each those that lie in no part of another, where these are fewer."""
    groups = list(groups)
    tops = [_tops(keys, pieces) for keys in groups]
    return [*groups, *(top for top, keys in zip(tops, groups, strict=True) if 1 < len(top) < len(keys))]


def _tops(keys: PartKeys, pieces: SpecPieces) -> PartKeys:
    """Those that no other of them is made of."""
    below: set[int] = set()
    waiting = [given for key in keys for given in pieces[key].inputs]
    while waiting:
        key = waiting.pop()
        if key not in below:
            below.add(key)
            waiting += pieces[key].inputs
    return tuple(key for key in keys if key not in below)
