"""What is being written at an offset, by the words before it: also where the text does not parse."""

from __future__ import annotations

import re
from functools import cache

from msgspec import Struct

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.syntax.lalr import Lexer, Tables, Token
from vflc.syntax.tokens import CLOSERS, OPENERS, scan

_PARTIAL = re.compile(r"[^\W\d]\w*$")
MARK = "cursor_"
"""A name that stands where the next word will."""


class TextCursor(Struct, frozen=True):
    """A place in a text.

    Args:
        start: where the word begins that is being written; the offset where there is none.
        body: the kind of body, as `vflc.syntax.tokens` names it; None in comments and strings.
        before: the tokens before the word.
        head: the words of the innermost statement with braces, as `release alice`.
        call: the function of the innermost call, and how many arguments are before the word.
    """

    start: int
    body: str | None
    before: tuple[Token, ...]
    head: tuple[str, ...] = ()
    call: tuple[str, int] | None = None

    def last(self, count: int = 1) -> list[str]:
        return [str(token) for token in self.before[-count:]]


def cursor(text: str, offset: int) -> TextCursor:
    """What is known of an offset by the text before it."""
    partial = _PARTIAL.search(text, 0, offset)
    start = partial.start() if partial is not None else offset
    source = SourceText("", f"{text[:start]}{MARK}")
    tokens, ignored = _lexer().lex(source.text)
    found = scan(source, tokens, ignored, DiagnosticCollector())
    for index, token in enumerate(found.tokens):
        if token.start_pos == start and token.value == MARK:
            before = tuple(found.tokens[:index])
            return TextCursor(start, found.bodies[index], before, _head(before), _call(before))
    return TextCursor(start, None, ())


@cache
def _lexer() -> Lexer:
    return Lexer(Tables.load())


def _head(tokens: tuple[Token, ...]) -> tuple[str, ...]:
    """The two words before the innermost open brace."""
    depth = 0
    for index in range(len(tokens) - 1, -1, -1):
        kind = tokens[index].type
        depth += (kind in CLOSERS) - (kind in OPENERS)
        if depth < 0:
            return tuple(str(token) for token in tokens[max(0, index - 2) : index])
    return ()


def _call(tokens: tuple[Token, ...]) -> tuple[str, int] | None:
    depth = commas = 0
    for index in range(len(tokens) - 1, -1, -1):
        kind = tokens[index].type
        if depth == 0 and kind == "COMMA":
            commas += 1
        depth += (kind in CLOSERS) - (kind in OPENERS)
        if depth < 0:
            named = kind == "LPAR" and index > 0 and tokens[index - 1].type == "NAME"
            if named or kind == "LBRACE":
                return (str(tokens[index - 1]), commas) if named else None
            depth = commas = 0
    return None
