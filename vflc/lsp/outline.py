"""The parts of a spec: symbols for an outline, and ranges that fold."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from vflc.diagnostics import Span
from vflc.lsp.analysis import Document
from vflc.syntax import tree


class OutlineSymbol(Struct, frozen=True):
    """A part of a spec: its whole range, its name's range, and what is in it."""

    name: str
    kind: str
    start: int
    end: int
    name_start: int
    name_end: int
    children: tuple[OutlineSymbol, ...] = ()


def symbols(analysis: Document) -> list[OutlineSymbol]:
    """An outline, in the order of the text."""
    return [symbol for item in analysis.spec.items if (symbol := _symbol(item)) is not None]


def named(analysis: Document, query: str) -> Iterator[tuple[OutlineSymbol, str]]:
    """Symbols with names in whose letters those of a query come in their order, each with what it is in."""
    wanted = query.casefold()
    for symbol in symbols(analysis):
        if symbol.kind != "statement" and _has(symbol.name.casefold(), wanted):
            yield symbol, ""
        for inner in symbol.children:
            if inner.kind != "setting" and _has(inner.name.casefold(), wanted):
                yield inner, symbol.name


def _has(name: str, wanted: str) -> bool:
    letters = iter(name)
    return all(letter in letters for letter in wanted)


def folds(analysis: Document) -> list[tuple[int, int]]:
    """Parts of several lines, each from its first character to its last, and runs of comments."""
    spec, text = analysis.spec, analysis.text
    found = [(item.span.start, item.span.end) for item in spec.items]
    run: list[tree.Comment] = []
    for comment in [each for each in spec.comments if each.own_line]:
        if run and text[run[-1].span.end : comment.span.start].strip("\r \t") != "\n":
            found.append((run[0].span.start, run[-1].span.end))
            run = []
        run.append(comment)
    if run:
        found.append((run[0].span.start, run[-1].span.end))
    return sorted((start, end) for start, end in found if "\n" in text[start:end].rstrip())


def _symbol(item: tree.Item) -> OutlineSymbol | None:
    match item:
        case tree.Party():
            columns = [_named(each.name, each.kind, each.span) for each in item.columns]
            return _named(item.name, "population" if item.population else "party", item.span, columns)
        case tree.Block():
            return _named(item.name, "block", item.span, [_named(b.name, "value", b.span) for b in item.body])
        case tree.Outside():
            return _named(item.name, "block", item.span)
        case tree.Binding():
            return _named(item.name, "value", item.span)
        case tree.Predict():
            return _named(item.name, "prediction", item.span)
        case tree.Fuse():
            inside = [_named(b.name, "value", b.span) for b in item.body]
            return _worded(f"fuse at {item.place.text}", item.span, inside)
        case tree.ReleaseStatement():
            return _worded(f"release {item.party.text}", item.span)
        case tree.Objective():
            return _worded("objective", item.span)
        case tree.Train():
            settings = [_named(each.name, "setting", each.span) for each in item.settings]
            return _worded("train", item.span, settings)
        case _:
            return None


def _named(
    name: tree.Name, kind: str, span: Span, children: list[OutlineSymbol] | None = None
) -> OutlineSymbol:
    return OutlineSymbol(
        name.text, kind, span.start, span.end, name.span.start, name.span.end, tuple(children or ())
    )


def _worded(words: str, span: Span, children: list[OutlineSymbol] | None = None) -> OutlineSymbol:
    """A statement without a name of its own."""
    return OutlineSymbol(
        words, "statement", span.start, span.end, span.start, span.start, tuple(children or ())
    )
