"""What to say where the text does not parse, and how much to leave out to go on."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from vflc.diagnostics import DiagnosticCollector
from vflc.diagnostics.diagnostic import ANYTHING
from vflc.syntax import advice
from vflc.syntax.expressions import MAX_FAMILY, members
from vflc.syntax.lalr import END, Tables, Token
from vflc.syntax.tokens import CLOSERS, KEYWORDS, NAMED_NEXT, OPENERS, OPERAND_END, STATEMENTS, Scan

_VALUE = {"NUMBER", "LSQB", "MINUS"}
_INFIX = {"PLUS", "COMPARE", "STAR"}
_SHOWN = {
    "EQUAL": "`=`", "COLON": "`:`", "LBRACE": "`{`", "LPAR": "`(`", "COMMA": "`,`", "RPAR": "`)`",
    "RSQB": "`]`", "RBRACE": "`}`", "ARROW": "`->`", "DOTS": "`..`", "AT": "`at`", "WITH": "`with`",
    "ON": "`on`", "TO": "`to`", "IN": "`in`", "STRING": "a string", "NUMBER": "a number", "NAME": "a name",
    "BECAUSE": "`because`", "FOR": "`for`",
}  # fmt: skip
_NAMES_AFTER = {
    "ARROW": "an encoder", "COLON": "a type", "AT": "a place", "TO": "a party", "ACCEPT": "a code",
}  # fmt: skip


class ParseFailure(Struct, frozen=True):
    """Where the parser stopped: at token `index` (the number of tokens: at the end).

    `start` is where the statement begins that it was in, `expected` what could have stood
    there. `complete`: the statement before could end there; `unfinished`: it could not,
    although a new one starts.
    """

    index: int
    start: int
    expected: frozenset[str]
    complete: bool = False
    unfinished: bool = False


def locate(tables: Tables, scan: Scan, stopped: int) -> ParseFailure:
    """Why the parser stopped at token `stopped`: often the mistake is a statement earlier."""
    stack, starts, tokens = [tables.start], [0], scan.tokens
    for index, token in enumerate(tokens[: stopped + 1]):
        body = scan.bodies[index]
        word = token.type == "NAME" or token.type in STATEMENTS
        complete = body in KEYWORDS and (word or index == stopped)
        complete = complete and tables.accepts(stack, END if body == "top" else "RBRACE")
        unfinished = index > 0 and not complete and body in KEYWORDS and scan.is_boundary(index)
        expected = tables.expected(stack) if unfinished or index == stopped else frozenset()
        if unfinished or (index == stopped and not complete):
            if _misplaced(scan, index - 1, starts):
                return ParseFailure(index - 1, starts[-2], expected, complete=True)
            return ParseFailure(index, starts[-1], expected, unfinished=unfinished)
        taken = tables.advance(stack, token.type)
        if complete and word and taken:
            starts.append(index)
        if index == stopped:
            fresh = scan.starts_line(index) or tokens[index - 1].type in ("LBRACE", "RBRACE")
            return ParseFailure(index, index if fresh and not taken else starts[-1], expected, complete=True)
    if _misplaced(scan, len(tokens) - 1, starts):
        return ParseFailure(len(tokens) - 1, starts[-2], tables.expected(stack), complete=True)
    return ParseFailure(len(tokens), starts[-1], tables.expected(stack))


def _misplaced(scan: Scan, index: int, starts: list[int]) -> bool:
    """Whether the name that was taken for a new statement, `b` in `x = a b`, is more likely not."""
    if starts[-1] != index or len(starts) < 3 or scan.starts_line(index):
        return False
    return scan.tokens[index].type == "NAME" and scan.bodies[index] != "settings"


def report(scan: Scan, failure: ParseFailure, collector: DiagnosticCollector) -> None:
    """Says what is wrong, unless the place has been complained about before."""
    index, tokens = failure.index, scan.tokens
    found = tokens[index] if index < len(tokens) else None
    previous = tokens[index - 1] if index else None
    touched = (token.start_pos for token in tokens[failure.start : index + 1])
    if any(start in scan.broken or start in scan.damaged for start in touched):
        return
    after = f" after `{advice.short(previous)}`" if previous is not None else ""
    what = _what(failure.expected, previous)
    if previous is not None and (found is None or failure.unfinished):
        code = "VFL0005" if found is None else "VFL0001"
        help = advice.unfinished(scan, failure.start, index)
        collector.error(code, f"expected {what}{after}", scan.span(previous), help)
        return
    assert found is not None
    hint = advice.unexpected(scan, failure.start, index, failure.expected)
    misspelt = advice.misspelt(scan, failure.start, index, hint)
    if misspelt is not None:
        message = f"no statement begins with `{misspelt}`"
    elif failure.complete and previous is not None and not scan.starts_line(index):
        message = f"unexpected `{advice.short(found)}`{after}"
    else:
        message = f"expected {what}{after}, found `{advice.short(found)}`"
    collector.error("VFL0001", message, scan.span(misspelt or found), hint)


def extent(scan: Scan, failure: ParseFailure) -> tuple[int, int]:
    """The tokens of the smallest statement that holds the failure: from, to (exclusive)."""
    tokens, start = scan.tokens, failure.start
    if failure.unfinished:
        return start, failure.index
    depth = 0
    for index in range(start, len(tokens)):
        kind = tokens[index].type
        if depth == 0 and index > start and index >= failure.index and _ends(scan, index):
            return start, index
        if kind in OPENERS:
            depth += 1
        elif kind in CLOSERS:
            if depth == 0:
                return start, max(index, start + 1)
            depth -= 1
    return start, len(tokens)


def _ends(scan: Scan, index: int) -> bool:
    """Whether the text before `index` can be left out and what starts there kept."""
    token = scan.tokens[index]
    if token.type in STATEMENTS:
        return True
    if token.type != "NAME" or not scan.starts_line(index) or scan.bodies[index] not in KEYWORDS:
        return False
    return scan.is_boundary(index) or scan.tokens[index - 1].type in OPERAND_END


def words(tokens: list[Token]) -> Iterator[str]:
    """Names in these tokens, any of which they may have bound, and the keywords of their statements.

    `ANYTHING` where what they declare has no name that could be read.
    """
    if tokens and tokens[0].type != "NAME" and tokens[0].type not in STATEMENTS:
        yield ANYTHING
    for index, token in enumerate(tokens):
        if token.type in NAMED_NEXT and [t.type for t in tokens[index + 1 : index + 2]] != ["NAME"]:
            yield ANYTHING
        if token.type == "NAME" or token.type in STATEMENTS:
            yield str(token)
        family = tokens[index + 1 : index + 6]
        if [t.type for t in family] == ["LBRACE", "NUMBER", "DOTS", "NUMBER", "RBRACE"]:
            low, high = (int(family[i]) if family[i].isdecimal() else 0 for i in (1, 3))
            yield from members(str(token), low, min(high, low + MAX_FAMILY))


# --- words --------------------------------------------------------------------------------------


def _what(expected: frozenset[str], previous: Token | None) -> str:
    """At most three things, in words."""
    if expected >= STATEMENTS - {"KEY", "COLUMN", "RETURN"}:
        return "an operator or the next statement" if expected >= _INFIX else "a statement"
    if "COLUMN" in expected:
        return "`key`, `feature`, `column`, `label`, `weight` or `}`"
    if expected >= _VALUE:
        return "a value" + _closing(expected)
    if expected >= _INFIX:
        kinds = ("EQUAL", "COMMA", "RPAR", "RSQB", "RBRACE", "WITH", "IN")
        rest = [_SHOWN[kind] for kind in kinds if kind in expected]
        return _either(["an operator", *rest][: 3 + ("EQUAL" in expected)])
    if expected >= {"COLON", "EQUAL", "LBRACE"}:
        return "`:` and a type, or `=` and an expression,"
    if expected == {"NAME", "STRING"} and previous is not None and previous.type in ("KEY", "COLUMN"):
        return "a name"
    if expected == {"NAME"} and previous is not None and previous.type in _NAMES_AFTER:
        return _NAMES_AFTER[previous.type]
    return _either([shown for kind, shown in _SHOWN.items() if kind in expected][:4]) or "something else"


def _closing(expected: frozenset[str]) -> str:
    closing = [_SHOWN[kind] for kind in ("RPAR", "RSQB") if kind in expected]
    return f" or {closing[0]}" if closing else ""


def _either(things: list[str]) -> str:
    if len(things) < 2:
        return "".join(things)
    return f"{', '.join(things[:-1])} or {things[-1]}"
