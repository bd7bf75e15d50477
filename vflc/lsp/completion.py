"""What can be written at an offset, and the parameters of the call that it is in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct
from vflc_common.words import COLUMN_TYPES

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.library import library_names
from vflc.lsp import names
from vflc.lsp.analysis import Document
from vflc.lsp.cursor import MARK, TextCursor, cursor
from vflc.lsp.describe import at_place
from vflc.lsp.facts import SpecFacts
from vflc.lsp.vocabulary import WordEntry, block_entry, find, library, words
from vflc.passes.lower.settings import LISTS, SETTINGS
from vflc.syntax import tree
from vflc.syntax.parser import parse
from vflc.syntax.tokens import KEYWORDS


class Proposal(Struct, frozen=True):
    """A word that fits; it takes the place of what is written from `start` to the offset."""

    word: str
    kind: str
    detail: str = ""
    doc: str = ""


def proposals(analysis: Document, offset: int) -> tuple[int, list[Proposal]]:
    """Where the word begins, and what it can become."""
    place = cursor(analysis.text, offset)
    if place.body is None:
        return place.start, []
    spec = _filled(analysis, place, offset)
    found = {each.word: each for each in _fitting(analysis, spec, place, offset)}
    return place.start, list(found.values())


def signature(analysis: Document, offset: int) -> tuple[WordEntry, int] | None:
    """What is called at an offset, and which of its parameters is written there."""
    place = cursor(analysis.text, offset)
    if place.call is None:
        return None
    name, position = place.call
    entry = _called(analysis, _filled(analysis, place, offset), place, name)
    if entry is None or not entry.parameters:
        return None
    last = place.last(2)
    if last[-1:] == ["="]:
        named = [i for i, each in enumerate(entry.parameters) if each.split(" ")[0] == last[0]]
        position = named[0] if named else position
    return entry, min(position, len(entry.parameters) - 1)


def _filled(analysis: Document, place: TextCursor, offset: int) -> tree.Spec:
    """The tree with a name where the cursor is: what is being written hardly ever parses without."""
    text = f"{analysis.text[: place.start]}{MARK}{analysis.text[offset:]}"
    return parse(SourceText(analysis.source.name, text), DiagnosticCollector())


def _fitting(analysis: Document, spec: tree.Spec, place: TextCursor, offset: int) -> Iterator[Proposal]:
    before = place.before
    last = before[-1].type if before else ""
    if last == "ARROW":
        yield from map(_entry, words("encoder").values())
    elif place.body == "names" or last == "DOT" or last == "USE":
        yield from _after_dot(analysis, spec, place, last)
    elif last in ("AT", "TO") or place.last() == ["release"]:
        yield from (_party(name) for name in names.parties(spec))
    elif place.body == "party" and last == "COLON":
        yield from (Proposal(name, "type") for name in COLUMN_TYPES)
    elif place.body == "release":
        yield from _granted(spec, place)
    elif place.body == "settings" or place.head[-1:] == ("train",):
        yield from _settings(analysis, spec, place)
    elif place.body in KEYWORDS and _fresh(place, analysis.text):
        yield from (Proposal(word, "keyword") for word in KEYWORDS[place.body])
    elif place.body not in KEYWORDS or place.body in ("top", "block", "bindings", "party"):
        yield from _values(analysis, spec, place, offset)


def _fresh(place: TextCursor, text: str) -> bool:
    """Whether a statement can start: on a line of its own, after what is complete."""
    line = text[text.rfind("\n", 0, place.start) + 1 : place.start]
    unfinished = ("EQUAL", "COMMA", "PLUS", "MINUS", "STAR", "TIMES", "COMPARE", "OBJECTIVE")
    return not line.strip() and not (place.before and place.before[-1].type in unfinished)


def _after_dot(analysis: Document, spec: tree.Spec, place: TextCursor, last: str) -> Iterator[Proposal]:
    if last == "USE":
        yield from (Proposal(name, "library") for name in library_names())
        return
    types = [token.type for token in place.before]
    if "USE" in types and (place.body == "names" or types[-3:-2] == ["USE"]):
        start = len(types) - 1 - types[::-1].index("USE")
        yield from (_entry(block_entry(block)) for block in library(str(place.before[start + 1])).values())
        return
    owner = place.last(2)[0]
    party = names.parties(spec).get(owner)
    if party is not None:
        yield Proposal("features", "value", f"all features of {owner}")
        yield from (_column(column) for column in party.columns)
    for known in _known(analysis).values.get(f"value {owner}", ()):
        if known.value.startswith(f"{owner}."):
            yield Proposal(known.value.split(".")[1], "value", at_place(known))


def _granted(spec: tree.Spec, place: TextCursor) -> Iterator[Proposal]:
    party = names.parties(spec).get(place.head[-1] if place.head else "")
    since: list[str] = []
    for token in place.before:
        since = [] if token.value == "to" else [*since, str(token)]
    if ":" in since and party is not None:
        yield from (_column(column) for column in party.columns)
    yield from (_party(name) for name in names.parties(spec) if party is None or name != party.name.text)
    yield Proposal("to", "keyword")


def _settings(analysis: Document, spec: tree.Spec, place: TextCursor) -> Iterator[Proposal]:
    setting = _setting(place, analysis.text)
    if setting in ("metrics", "monitor"):
        yield from map(_entry, words("metric").values())
    elif setting == "optimizer":
        yield from map(_entry, words("schedule" if place.call is not None else "optimizer").values())
        yield from _parameters(analysis, spec, place)
    elif setting is not None and place.last() == [setting]:
        if setting in SETTINGS and SETTINGS[setting][0](True):
            yield from (Proposal(word, "keyword") for word in ("true", "false"))
    else:
        yield from (Proposal(name, "setting", wanted) for name, (_, wanted) in SETTINGS.items())
        yield from (Proposal(name, "setting") for name in LISTS)


def _setting(place: TextCursor, text: str) -> str | None:
    """The setting on whose line the cursor is, or whose list goes on there; None at the start of a line."""
    found, end = None, 0
    for token in place.before:
        if "\n" in text[end : token.start_pos] and text[:end][-1:] != ",":
            found = None
        if token.type != "COMMA" and str(token) in (*SETTINGS, *LISTS):
            found = str(token)
        end = token.end_pos
    return None if "\n" in text[end : place.start] and text[:end][-1:] != "," else found


def _values(analysis: Document, spec: tree.Spec, place: TextCursor, offset: int) -> Iterator[Proposal]:
    yield from _parameters(analysis, spec, place)
    inside = next(
        (
            item
            for item in spec.items
            if isinstance(item, tree.Block) and item.span.start < offset <= item.span.end
        ),
        None,
    )
    if place.head[:1] == ("party",) and (party := names.parties(spec).get(place.head[-1])):
        yield from (_column(column) for column in party.columns)
        return
    if inside is not None:
        yield from (Proposal(each.name.text, "parameter") for each in inside.parameters)
        yield from _bound(analysis, inside.body, f"{inside.name.text}/")
    else:
        yield from _bound(analysis, names.bindings(spec), "")
        yield from (_party(name) for name in names.parties(spec))
    yield from (_entry(block_entry(block)) for block in _blocks(analysis, spec).values())
    yield from map(_entry, words("function").values())


def _bound(analysis: Document, made: Iterable[tree.Binding], scope: str) -> Iterator[Proposal]:
    for binding in made:
        known = _known(analysis).values.get(f"value {scope}{binding.name.text}", ())
        detail = at_place(known[0]) if len(known) == 1 else ""
        yield Proposal(binding.name.text, "value", detail)


def _parameters(analysis: Document, spec: tree.Spec, place: TextCursor) -> Iterator[Proposal]:
    """Names of the arguments of the call that the offset is in, where one can start."""
    last = place.before[-1].type if place.before else ""
    entry = _called(analysis, spec, place, place.call[0]) if place.call is not None else None
    if entry is not None and last in ("LPAR", "COMMA"):
        for parameter in entry.parameters:
            yield Proposal(f"{parameter.split(' ')[0].rstrip(',')} = ", "argument", parameter)


def _called(analysis: Document, spec: tree.Spec, place: TextCursor, name: str) -> WordEntry | None:
    if place.head[:1] == ("party",) and (found := find(name, "encoder")):
        return found
    block = _blocks(analysis, spec).get(name)
    return block_entry(block) if block is not None else find(name, "function", "optimizer", "schedule")


def _blocks(analysis: Document, spec: tree.Spec) -> dict[str, tree.Block]:
    """What may be called: of files, what the text uses as it stands without the word that is written."""
    return names.blocks(spec, analysis.blocks)


def _known(analysis: Document) -> SpecFacts:
    """Nobody who types waits for a check."""
    return analysis.known or SpecFacts({})


def _entry(entry: WordEntry) -> Proposal:
    return Proposal(entry.name, entry.kind, entry.signature, entry.doc)


def _party(name: str) -> Proposal:
    return Proposal(name, "party")


def _column(column: tree.Column) -> Proposal:
    return Proposal(column.name.text, "column", " ".join(column.span.text.split()))
