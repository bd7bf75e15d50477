"""What a text shares with the version before it is not parsed again: unchanged statements are moved.

So are unchanged columns of a party that did change. A statement or column is taken over where its characters
and the next token are the same, in the same kinds of tokens: the parser, which looks one token ahead, would
make the same of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from vflc.diagnostics import SourceText, Span
from vflc.syntax import tree
from vflc.syntax.lalr import END, LexedText, Lexer, Parser, Token

_PLAIN = frozenset({type(None), str, int, bool, float})
"""Types of what has no place in a text."""
COLUMN = "column"
"""What rules of the grammar make of a column's tokens."""


class ParsedText(Struct, frozen=True):
    """A text that was parsed.

    Args:
        lexed: its tokens, before words were classified; None of a text that is too large.
        tokens: as they were classified.
        whole: whether it has nothing that does not parse; what has is parsed as a whole.
    """

    spec: tree.Spec
    lexed: LexedText | None
    tokens: Sequence[Token]
    whole: bool

    @property
    def text(self) -> str:
        return self.spec.span.source.text


class Middle(Struct, frozen=True):
    """What has to be parsed between statements that did not change.

    Args:
        head, tail: how many statements of the version before begin and end the text.
        tokens: between them.
        following: the first token behind them.
        columns: of parties between them, those that did not change, by where each begins in `tokens`.
    """

    head: int
    tail: int
    tokens: Sequence[Token]
    following: Token
    columns: Mapping[int, KeptColumn]


class KeptColumn(Struct, frozen=True):
    """A column of the version before, where it is now, and how many tokens it has."""

    column: tree.Column
    size: int


def lexed(lexer: Lexer, text: str, before: ParsedText | None) -> LexedText:
    """The tokens of a text: those of lines that begin or end the version before alike are taken over."""
    if before is None or before.lexed is None:
        return lexer.lex(text)
    kept, ignored = before.lexed
    old, by = before.text, len(text) - len(before.text)
    start = text.rfind("\n", 0, _alike(old, text)) + 1
    most = min(len(old), len(text)) - start
    last = text.find("\n", len(text) - min(_alike(old[::-1], text[::-1]), most)) + 1
    stop = last or len(text)
    between = lexer.lex(text, start, stop)

    def taken_over(tokens: Sequence[Token], new: Sequence[Token]) -> list[Token]:
        head = bisect_left(tokens, start, key=_start)
        tail = tokens[bisect_left(tokens, stop - by, key=_start) :]
        return [*tokens[:head], *new, *(tail if by == 0 else (token.moved(by) for token in tail))]

    return LexedText(taken_over(kept, between.kept), taken_over(ignored, between.ignored))


def middle(before: ParsedText, source: SourceText, tokens: Sequence[Token]) -> Middle | None:
    """What is new in a text; None where nothing of the version before can be kept."""
    items, old, text = before.spec.items, before.tokens, source.text
    if not before.whole or not items:
        return None
    places = [token.start_pos for token in old]
    starts = [bisect_left(places, item.span.start) for item in items]
    same = _alike(before.text, text)
    by = len(text) - len(before.text)
    head = _same_tokens(old, tokens, bisect_left(old, same + 1, key=_end), 0)
    least = bisect_left(starts, head) - 1  # the statement that the last of these tokens is in may go on
    rest = _alike(before.text[same:][::-1], text[same:][::-1])
    tail = len(old) - bisect_left(places, len(before.text) - rest)
    tail = _same_tokens(old[::-1], tokens[::-1], tail, by)
    first = max(least, 0)
    last = max(bisect_left(starts, len(old) - tail), first)
    begin = starts[first]
    end = (starts[last] if last < len(starts) else len(old)) + len(tokens) - len(old)
    if begin > end:
        return None
    following = tokens[end] if last < len(starts) else Token(END, "")
    kept = _columns(items[first:last], places, head, len(old) - tail, by, source)
    more = len(tokens) - len(old)
    columns = {at + (more if at >= head else 0) - begin: column for at, column in kept.items()}
    return Middle(first, len(items) - last, tokens[begin:end], following, columns)


def _columns(
    items: Sequence[Any], places: Sequence[int], head: int, tail: int, by: int, source: SourceText
) -> dict[int, KeptColumn]:
    """Columns within the first tokens, up to `head`, or the last, from `tail` on, by where they began.

    `places` are the offsets at which tokens began; the last ones are `by` characters later in `source`.
    """
    first: dict[int, tuple[tree.Column, int]] = {}
    last: dict[int, tuple[tree.Column, int]] = {}
    for column in (each for item in items if isinstance(item, tree.Party) for each in item.columns):
        start = bisect_left(places, column.span.start)
        stop = bisect_left(places, column.span.end, start)
        if stop < head:  # with the token behind it
            first[start] = column, stop - start
        elif start >= max(head, tail):
            last[start] = column, stop - start
    now = [
        *moved([c for c, _ in first.values()], source, 0),
        *moved([c for c, _ in last.values()], source, by),
    ]
    kept = {**first, **last}
    return {at: KeptColumn(new, size) for (at, (_, size)), new in zip(kept.items(), now, strict=True)}


def parsed_between(parser: Parser, found: Middle) -> list[Any] | None:
    """The statements of what has to be parsed; None where it is not whole by itself."""
    tokens, at = found.tokens, 0
    while at < len(tokens):
        if (kept := found.columns.get(at)) is None:
            if not parser.take(tokens[at]):
                return None
            at += 1
            continue
        if not parser.put(tokens[at], COLUMN, kept.column):
            return None
        at += kept.size
    if not parser.take(found.following):
        return None
    values = parser.values
    if found.following.type == END:
        return list(values[0])
    if values[-1] is not found.following or len(values) > 2:
        return None  # what follows goes on with the last of them
    if len(values) == 1:
        return []
    return values[0] if isinstance(values[0], list) else None


def moved(items: Sequence[Any], source: SourceText, by: int) -> list[Any]:
    """Statements at another place of another text."""

    def span(old: Span) -> Span:
        return Span(source, old.start + by, old.end + by)

    def part(value: Any) -> Any:
        kind = type(value)
        if kind is tree.Name:
            return tree.Name(value.text, span(value.span))
        if kind is Span:
            return Span(source, value.start + by, value.end + by)
        if kind is tuple:
            return tuple([part(each) for each in value]) if value else value
        if kind is tree.Ref:
            return tree.Ref(value.name, span(value.span))
        if kind is tree.Number:
            return tree.Number(value.value, span(value.span))
        if kind.__module__ != tree.__name__:
            return value
        return kind(*[each if type(each) in _PLAIN else part(each) for each in astuple(value)])

    return [part(item) for item in items]


def _start(token: Token) -> int:
    return token.start_pos


def _end(token: Token) -> int:
    return token.end_pos


def _alike(first: str, second: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        half = (low + high + 1) // 2
        if first[low:half] == second[low:half]:
            low = half
        else:
            high = half - 1
    return low


def _same_tokens(first: Sequence[Token], second: Sequence[Token], most: int, by: int) -> int:
    """How many tokens, of those of the same characters, begin at the same and are of the same kinds."""
    for index, (one, other) in enumerate(zip(first[:most], second, strict=False)):
        if one is not other and (one.type != other.type or one.start_pos + by != other.start_pos):
            return index
    return min(most, len(second))
