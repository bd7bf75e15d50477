"""What stands in each box: a value, a folded block, or what crosses, in a few short lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from vflc.picture.letters import shortened, visible, width
from vflc.picture.sketch import CrossingValue, DrawnValue, Sketch, SourceLine, at_most, volume

TITLE, SMALL = 12.0, 10.5
"""Sizes of text, in pixels."""
BOX_TEXT, CROSSING_TEXT = 176.0, 214.0
"""The widest text in a box and in what stands at a border, in pixels."""
LISTED = 3
"""So many values that cross together are each named; of more the number is given."""
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
        around: the block that it is in.
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
    around: str | None = None
    folded: bool = False
    at: SourceLine | None = None
    warns: bool = False


def value_box(sketch: Sketch, key: str, values: Sequence[DrawnValue]) -> DiagramBox:
    """A value, or a folded block at a place; `key` is the block, or `=` and the id of the value."""
    if key.startswith("="):
        return _value(values[0], sketch.places)
    first, count = values[0], len(values)
    if all(value.kind in ("feature", "label") for value in values):
        kind = "labels" if first.kind == "label" else "features"
        names = [value.id.partition(".")[2] or value.id for value in values]
        title, detail = f"{count} {kind}" if count > 1 else names[0], ", ".join(names)
    else:
        call = sketch.called.get(key)
        title = _title(key, sketch.places)
        detail = f"{f'{call} · ' if call else ''}{count} value{'s' * (count > 1)}"
    told = (f"block {key} at {first.place or 'no place yet'}: {detail}", *_some(values))
    at = next((value.at for value in values if value.id == key), None) or first.at
    inside = first.blocks[: first.blocks.index(key)]
    return DiagramBox(
        key,
        first.place,
        "block",
        _lines(title, detail),
        _clean(told),
        block=key,
        around=inside[-1] if inside else None,
        folded=True,
        at=at,
    )


def _value(value: DrawnValue, places: Sequence[str]) -> DiagramBox:
    column = value.kind in ("feature", "label")
    title = (value.id.partition(".")[2] or value.id) if column else _title(value.id, places)
    kind = "" if value.kind in ("value", "feature", value.detail) else f"{value.kind}: "
    told = (f"{value.kind} {value.id} at {value.place or 'no place yet'}", *value.told)
    return DiagramBox(
        value.id,
        value.place,
        value.kind,
        _lines(title, f"{kind}{value.detail}"),
        _clean(told),
        block=value.blocks[-1] if value.blocks else None,
        around=value.blocks[-1] if value.blocks else None,
        at=value.at,
    )


def crossing_box(sketch: Sketch, source: str, target: str, carried: Sequence[CrossingValue]) -> DiagramBox:
    """What stands at the border: what goes, how much, what it tells at most, and what comes back."""
    there = [each for each in carried if not each.backward]
    back = [each for each in carried if each.backward]
    if len(there) <= LISTED:
        lines = [
            TextLine(_from_behind(visible(f"{e.name} {e.shape}"), CROSSING_TEXT), "title") for e in there
        ]
    else:
        lines = [_line(f"{len(there)} values", "title")]
    lines += [_line(f"→ {target}: {volume(there, sketch.unit)}", "detail"), *_tells(there)]
    told = [*_told(there, target, sketch.unit)]
    if back:
        what = "gradient" if sketch.unit == "step" else "change"
        count = what if len(back) == 1 else f"{len(back)} {what}s"
        lines += [_line(f"← {count}: {volume(back, sketch.unit)}", "detail"), *_tells(back)]
        told += _told(back, source, sketch.unit)
    found = any(word.startswith("VFL") and word.isalnum() for each in carried for word in each.known)
    warns = found or bool(_not_granted(carried))
    return DiagramBox(carried[0].name, source, "crossing", tuple(lines), _clean(told), to=target, warns=warns)


def _bounds(edges: Sequence[CrossingValue]) -> list[tuple[str, list[str]]]:
    return at_most([about for each in edges for about in each.learn])


def _known(edges: Sequence[CrossingValue]) -> str:
    return ", ".join(dict.fromkeys(word for each in edges for word in (*each.protected, *each.known)))


def _not_granted(edges: Sequence[CrossingValue]) -> list[str]:
    return list(dict.fromkeys(about.column for each in edges for about in each.learn if not about.granted))


def _tells(edges: Sequence[CrossingValue]) -> Iterator[TextLine]:
    """The most that it tells, and what is known besides."""
    for words, columns in _bounds(edges)[:1]:
        yield _line(f"tells at most {words} of {_counted(columns)}", "detail")
    if lacking := _not_granted(edges):
        yield _line(f"not granted: {_counted(lacking)}", "lacking")
    if known := _known(edges):
        yield _line(known, "known")


def _counted(columns: Sequence[str]) -> str:
    return columns[0] if len(columns) == 1 else f"{len(columns)} columns"


def _told(edges: Sequence[CrossingValue], receiver: str, unit: str) -> Iterator[str]:
    verb = "crosses" if len(edges) == 1 else "cross"
    shown = ", ".join(_first([f"{each.name} {each.shape}" for each in edges]))
    yield f"{shown} {verb} from {edges[0].source} to {edges[0].target}, {volume(edges, unit)}"
    for words, columns in _bounds(edges):
        yield f"{receiver} may learn at most {words} of {', '.join(_first(columns))}"
    if lacking := _not_granted(edges):
        yield f"not granted to {receiver}: {', '.join(_first(lacking))}"
    if known := _known(edges):
        yield f"protected by, known to reveal, or found: {known}"


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


def _line(text: str, style: str) -> TextLine:
    title = style == "title"
    return TextLine(shortened(visible(text), CROSSING_TEXT, TITLE if title else SMALL, title), style)


def _some(values: Sequence[DrawnValue]) -> Iterator[str]:
    yield ", ".join(_first([value.id for value in values]))


def _first(names: Sequence[str]) -> list[str]:
    rest = len(names) - NAMED
    return [*names] if rest <= 1 else [*names[:NAMED], f"{rest} more"]


def _clean(told: Iterable[str]) -> tuple[str, ...]:
    """Sentences that may be shown: each in one line of at most 400 characters."""
    return tuple(text if len(text) <= 400 else f"{text[:390]}…" for text in map(visible, told))
