"""Which blocks are folded, and the boxes and arrows that a sketch becomes with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set

from msgspec import Struct

from vflc.picture.letters import shortened, visible, width
from vflc.picture.sketch import CrossingValue, DrawnValue, Sketch, SourceLine, at_most, volume

MOST = 24
"""So many boxes a picture has before blocks stay folded."""
TITLE, SMALL = 12.0, 10.5
"""Sizes of text, in pixels."""
BOX_TEXT, CROSSING_TEXT = 176.0, 214.0
"""The widest text in a box and in what stands at a border, in pixels."""
NAMED = 12
"""So many names are told of a folded block or of what crosses; others are counted."""


class TextLine(Struct, frozen=True):
    """A line of text in a box: `title` in a monospaced font, the others smaller."""

    text: str
    style: str

    @property
    def width(self) -> float:
        title = self.style == "title"
        return width(self.text, TITLE if title else SMALL, title)


class DiagramBox(Struct, frozen=True):
    """What is drawn as a box: a value, a folded block at a place, or what crosses.

    Args:
        name: of the value or of the block; of what crosses, of the value or the first of them.
        place: the lane; of what crosses, where it comes from.
        to: the other lane, of what crosses.
        kind: of a value; `block`, or `crossing`.
        block: what Space folds or unfolds, if anything.
        folded: whether it stands for a block.
        told: sentences: what a screen reader says, and what is shown to who points at it.
    """

    name: str
    place: str
    kind: str
    lines: tuple[TextLine, ...]
    told: tuple[str, ...]
    to: str | None = None
    block: str | None = None
    folded: bool = False
    at: SourceLine | None = None
    warns: bool = False


class DiagramArrow(Struct, frozen=True):
    """From one box to another, by their numbers; `back` where a gradient comes back, too."""

    source: int
    target: int
    crosses: bool = False
    back: bool = False


class Diagram(Struct, frozen=True):
    """Boxes and arrows without positions.

    Args:
        folded: the blocks that were folded, also within others.
        blocks: all that can be.
    """

    model: str
    places: tuple[str, ...]
    boxes: tuple[DiagramBox, ...]
    arrows: tuple[DiagramArrow, ...]
    folded: frozenset[str]
    blocks: frozenset[str]


def folded_by_default(sketch: Sketch, most: int = MOST) -> frozenset[str]:
    """Blocks that stay folded: the outermost are unfolded first, of equals the smaller, to `most` boxes."""
    inside: dict[str, set[tuple[str, str]]] = {}
    at: dict[str, set[str]] = {}
    depth: dict[str, int] = {}
    parent: dict[str, str] = {}
    shown: set[tuple[str, str]] = set()
    for value in sketch.values:
        chain = value.blocks
        for number, block in enumerate(chain):
            child = chain[number + 1] if number + 1 < len(chain) else f"={value.id}"
            inside.setdefault(block, set()).add((value.place, child))
            at.setdefault(block, set()).add(value.place)
            depth[block] = number
            if number:
                parent[block] = chain[number - 1]
        shown.add((value.place, chain[0] if chain else f"={value.id}"))
    count, folded = len(shown), set(inside)
    adds = {block: len(members) - len(at[block]) for block, members in inside.items()}
    for block in sorted(inside, key=lambda block: (depth[block], adds[block], block)):
        if parent.get(block) not in folded and count + adds[block] <= most:
            folded.remove(block)
            count += adds[block]
    return frozenset(folded)


def diagram(sketch: Sketch, folded: Set[str] | None = None) -> Diagram:
    """Boxes and arrows; `folded` are ids of blocks, None for those that are by default."""
    blocks = frozenset(block for value in sketch.values for block in value.blocks)
    closed = folded_by_default(sketch) if folded is None else blocks & folded
    members: dict[tuple[str, str], list[DrawnValue]] = {}
    key_of: dict[str, tuple[str, str]] = {}
    for value in sketch.values:
        block = next((block for block in value.blocks if block in closed), None)
        key_of[value.id] = key = (value.place, f"={value.id}" if block is None else block)
        members.setdefault(key, []).append(value)
    boxes = [_box(sketch, key[1], values) for key, values in members.items()]
    number = {key: index for index, key in enumerate(members)}
    box_of = {name: number[key] for name, key in key_of.items()}
    arrows: dict[tuple[int, int], DiagramArrow] = {}
    borders = _borders(sketch, box_of, boxes)
    border_of: dict[tuple[int, str], int] = {}
    for (source, target), carried in borders.items():
        border_of[source, target] = len(boxes)
        back = any(each.backward for each in carried)
        arrows[source, len(boxes)] = DiagramArrow(source, len(boxes), True, back)
        boxes.append(_crossing(sketch, boxes[source].place, target, carried))
    for name, reader in sketch.reads:
        start, end = box_of[name], box_of[reader]
        if start == end:
            continue
        apart = boxes[start].place != boxes[end].place
        border = border_of.get((start, boxes[end].place)) if apart else None
        first = start if border is None else border
        arrows.setdefault((first, end), DiagramArrow(first, end, border is not None))
    return Diagram(sketch.model, sketch.places, tuple(boxes), tuple(arrows.values()), closed, blocks)


def _borders(
    sketch: Sketch, box_of: dict[str, int], boxes: Sequence[DiagramBox]
) -> dict[tuple[int, str], list[CrossingValue]]:
    """What crosses from a box to a place, with the gradients that come back to it from there."""
    found: dict[tuple[int, str], list[CrossingValue]] = {}
    for each in sorted(sketch.crossings, key=lambda each: each.backward):
        home, other = (each.target, each.source) if each.backward else (each.source, each.target)
        box = box_of.get(each.value or "")
        if box is not None and boxes[box].place == home and (not each.backward or (box, other) in found):
            found.setdefault((box, other), []).append(each)
            continue
        first = next((n for n, each_box in enumerate(boxes) if each_box.place == each.source), None)
        if first is not None:  # nothing drawn is what crosses: it is shown at the border all the same
            found.setdefault((first, each.target), []).append(each)
    return found


def _box(sketch: Sketch, key: str, values: Sequence[DrawnValue]) -> DiagramBox:
    if key.startswith("="):
        return _value(values[0], sketch.places)
    first, count = values[0], len(values)
    if all(value.kind in ("feature", "label") for value in values):
        kind = "labels" if first.kind == "label" else "features"
        names = [value.id.partition(".")[2] for value in values]
        title, detail = f"{count} {kind}" if count > 1 else names[0], ", ".join(names)
    else:
        call = sketch.called.get(key)
        title = _title(key, sketch.places)
        detail = f"{f'{call} · ' if call else ''}{count} value{'s' * (count > 1)}"
    told = (f"block {key} at {first.place or 'no place yet'}: {detail}", *_some(values))
    at = next((value.at for value in values if value.id == key), None) or first.at
    return DiagramBox(
        key, first.place, "block", _lines(title, detail), _clean(told), block=key, folded=True, at=at
    )


def _value(value: DrawnValue, places: Sequence[str]) -> DiagramBox:
    column = value.kind in ("feature", "label")
    title = value.id.partition(".")[2] if column else _title(value.id, places)
    kind = "" if value.kind in ("value", "feature") else f"{value.kind}: "
    told = (f"{value.kind} {value.id} at {value.place or 'no place yet'}", *value.told)
    return DiagramBox(
        value.id,
        value.place,
        value.kind,
        _lines(title, f"{kind}{value.detail}"),
        _clean(told),
        block=value.blocks[-1] if value.blocks else None,
        at=value.at,
    )


def _crossing(sketch: Sketch, source: str, target: str, carried: Sequence[CrossingValue]) -> DiagramBox:
    """What stands at the border: what goes, how much, what it tells at most, and what comes back."""
    ways = [[each for each in carried if each.backward is backward] for backward in (False, True)]
    lines, told = [], []
    for edges, receiver, sign, what in zip(ways, (target, source), "→←", ("value", "gradient"), strict=True):
        if not edges:
            continue
        one = edges[0]
        named = f"{one.name} {one.shape}" if len(edges) == 1 else f"{len(edges)} {what}s"
        size = volume(edges, sketch.unit)
        if sign == "→" or not ways[0]:
            lines.append(TextLine(shortened(visible(named), CROSSING_TEXT, TITLE, True), "title"))
            lines.append(_small(f"{sign} {receiver or '?'}: {size}"))
        else:
            lines.append(_small(f"{sign} {'gradient' if len(edges) == 1 else named}: {size}"))
        bounds = at_most([about for each in edges for about in each.learn])
        known = list(dict.fromkeys(word for each in edges for word in (*each.protected, *each.known)))
        if bounds:
            words, columns = bounds[0]
            of = f"{words} of {columns[0] if len(columns) == 1 else f'{len(columns)} columns'}"
            lines.append(_small(f"tells at most {of}"))
        if known:
            lines.append(TextLine(shortened(visible(", ".join(known)), CROSSING_TEXT, SMALL), "known"))
        verb = "crosses" if len(edges) == 1 else "cross"
        names = ", ".join(_first([f"{each.name} {each.shape}" for each in edges]))
        told.append(f"{names} {verb} from {edges[0].source} to {edges[0].target}, {size}")
        for words, columns in bounds:
            told.append(f"{receiver} may learn at most {words} of {', '.join(_first(columns))}")
        told += [f"known to reveal, found, or protected by: {', '.join(known)}"] * bool(known)
    warns = any(word for each in carried for word in each.known if word.startswith("VFL") and word.isalnum())
    return DiagramBox(carried[0].name, source, "crossing", tuple(lines), _clean(told), to=target, warns=warns)


def _title(path: str, places: Sequence[str]) -> str:
    """The last of a path; a place behind it is told by the lane."""
    head, _, last = path.rpartition(".")
    return head if head and last in places else path


def _lines(title: str, detail: str) -> tuple[TextLine, ...]:
    shown = _from_behind(visible(title), BOX_TEXT)
    return TextLine(shown, "title"), TextLine(shortened(visible(detail), BOX_TEXT, SMALL), "detail")


def _from_behind(path: str, most: float) -> str:
    """Of a long path its last parts, `…mlp.0.linear`; of a long name, its start and end."""
    if len(path) < 400 and width(path, TITLE, True) <= most:
        return path
    parts = path.split(".")
    for number in range(1, len(parts)):
        text = f"…{'.'.join(parts[number:])}"
        if len(text) < 400 and width(text, TITLE, True) <= most:
            return text
    return shortened(path, most, TITLE, True)


def _small(text: str) -> TextLine:
    return TextLine(shortened(visible(text), CROSSING_TEXT, SMALL), "detail")


def _some(values: Sequence[DrawnValue]) -> Iterator[str]:
    yield ", ".join(_first([value.id for value in values]))


def _first(names: Sequence[str]) -> list[str]:
    rest = len(names) - NAMED
    return [*names] if rest <= 1 else [*names[:NAMED], f"{rest} more"]


def _clean(told: Iterable[str]) -> tuple[str, ...]:
    """Sentences that may be shown: each in one line of at most 400 characters."""
    return tuple(text if len(text) <= 400 else f"{text[:390]}…" for text in map(visible, told))
