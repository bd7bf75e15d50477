"""Expressions, from the parser's reductions to the tree: one method a rule of `vfl.lark`.

Methods get everything that the rule matched, punctuation too, so that spans are exact.
What is wrong although it parses (an argument given twice, a family that runs backwards) is
noted here and reported once the whole text has been parsed.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from vflc.diagnostics import Diagnostic, RelatedSpan, SourceText, Span
from vflc.syntax import tree
from vflc.syntax.lalr import Token

MAX_DEPTH = 100
"""How deep expressions may nest, and how many terms a chain of operators may have."""
MAX_FAMILY = 20_000
LARGEST_FLOAT = 3.4028234663852886e38
"""Of numbers: what float32 holds, in which models compute."""
_T = TypeVar("_T", bound=tree.Expr | tree.Argument | tree.Field)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "0": "\0"}
_ESCAPE = re.compile(r"\\(u\{([0-9a-fA-F]{1,6})\}|.)", re.DOTALL)


class TooDeep(Exception):
    """An expression nests deeper than what comes after the parser can follow."""

    def __init__(self, span: Span) -> None:
        super().__init__("too deep")
        self.span = span


def members(prefix: str, low: int, high: int) -> Iterator[str]:
    """The columns of a family."""
    return (f"{prefix}{number}" for number in range(low, high + 1))


class FamilyNumbers(Struct, frozen=True):
    """`{1..26}` behind a name."""

    low: int
    high: int
    span: Span


class Expressions:
    """Holds what one parse needs; `begin` sets it afresh."""

    def __init__(self) -> None:
        self.begin(SourceText("", ""), set())

    def begin(self, source: SourceText, damaged: set[int]) -> None:
        """`damaged` are offsets in statements that must not be taken at their word."""
        self.source = source
        self._damaged = sorted(damaged)
        self.slips: list[Diagnostic] = []
        self.dropped: set[str] = set()
        self._depths: dict[int, int] = {}

    # --- helpers --------------------------------------------------------------------------------

    def _at(self, part: Any) -> Span:
        if isinstance(part, Token):
            return Span(self.source, part.start_pos, part.end_pos)
        span: Span = part.span
        return span

    def _over(self, parts: list[Any]) -> Span:
        first, last = parts[0], parts[-1]
        start = first.start_pos if isinstance(first, Token) else first.span.start
        return Span(self.source, start, last.end_pos if isinstance(last, Token) else last.span.end)

    def _name(self, token: Token) -> tree.Name:
        return tree.Name(str(token), self._at(token))

    def _names(self, parts: list[Any]) -> list[tree.Name]:
        return [self._name(part) for part in parts if isinstance(part, Token) and part.type == "NAME"]

    def _slip(self, code: str, message: str, span: Span, help: str, *labels: RelatedSpan) -> None:
        """Notes a mistake; the statement that it is in will be dropped."""
        self.slips.append(Diagnostic(code, message, span, help, labels))
        insort(self._damaged, span.start)

    def _deep(self, node: _T, parts: list[Any]) -> _T:
        """Records how deep `node` nests; refuses what later phases could not walk."""
        depth, depths = 0, self._depths
        for part in parts:
            if (inner := depths.get(id(part), 0)) > depth:
                depth = inner
        if depth >= MAX_DEPTH:
            raise TooDeep(node.span)
        depths[id(node)] = depth + 1
        return node

    def _harmed(self, span: Span) -> bool:
        first = bisect_left(self._damaged, span.start)
        return first < len(self._damaged) and self._damaged[first] < span.end

    def path(self, parts: list[Any]) -> tree.Expr:
        value: tree.Expr = self.ref(parts[:1])
        for token in parts[2::2]:
            value = self.attribute([value, parts[1], token])
        return value

    # --- expressions ----------------------------------------------------------------------------

    def number(self, parts: list[Any]) -> tree.Number:
        span, text = self._at(parts[0]), str(parts[0]).replace("_", "")
        value: int | float = float(text)
        if value > LARGEST_FLOAT:
            self._slip("VFL0009", "this number is too large", span, "the largest number is about 3.4e38")
            value = 0.0
        elif text.isdecimal():
            value = int(text)
        return tree.Number(value, span)

    def string(self, parts: list[Any]) -> tree.String:
        span = self._at(parts[0])

        def character(match: re.Match[str]) -> str:
            found = _ESCAPES.get(match[1])
            code = int(match[2], 16) if match[2] else 0xD800
            if code < 0xD800 or 0xE000 <= code < 0x110000:
                found = chr(code)
            if found is None:
                start = span.start + 1 + match.start()
                place = Span(self.source, start, start + len(match[0]))
                message = f"`{match[0]}` is not an escape sequence"
                self._slip("VFL0010", message, place, r"use one of \n \t \r \0 \\ \" \' and \u{1F600}")
                return ""
            return found

        return tree.String(_ESCAPE.sub(character, str(parts[0])[1:-1]), span)

    def boolean(self, parts: list[Any]) -> tree.Bool:
        return tree.Bool(parts[0] == "true", self._at(parts[0]))

    def ref(self, parts: list[Any]) -> tree.Ref | tree.Family:
        if len(parts) > 1:
            low, high = parts[1].low, parts[1].high
            return tree.Family(None, self._name(parts[0]), low, high, self._over(parts))
        return tree.Ref(str(parts[0]), self._at(parts[0]))

    def attribute(self, parts: list[Any]) -> tree.Attribute | tree.Family:
        value, name, span = parts[0], self._name(parts[2]), self._over(parts)
        if len(parts) > 3:
            return self._deep(tree.Family(value, name, parts[3].low, parts[3].high, span), parts)
        return self._deep(tree.Attribute(value, name, span), parts)

    def call(self, parts: list[Any]) -> tree.Call:
        arguments = self._given(parts[1:])
        return self._deep(tree.Call(parts[0], arguments, self._over(parts)), parts)

    def _given(self, parts: list[Any]) -> tuple[tree.Argument, ...]:
        arguments = tuple(part for part in parts if isinstance(part, tree.Argument))
        seen: dict[str, tree.Argument] = {}
        for argument in arguments:
            if argument.name is None:
                if seen:
                    first = next(iter(seen.values()))
                    self._slip(
                        "VFL0011",
                        "a positional argument follows a named one",
                        argument.span,
                        "name it, or move it to the front",
                        RelatedSpan(first.span, "the named one"),
                    )
                continue
            self._once(argument.name, seen, "argument")
            seen.setdefault(argument.name.text, argument)
        return arguments

    def _once(self, name: tree.Name, seen: dict[str, Any], what: str) -> None:
        if name.text in seen:
            message = f"{what} `{name.text}` is given twice"
            first = RelatedSpan(seen[name.text].span, "the first one")
            self._slip("VFL0012", message, name.span, "keep one of them", first)

    def argument(self, parts: list[Any]) -> tree.Argument:
        name = self._name(parts[0]) if len(parts) > 1 else None
        return self._deep(tree.Argument(name, parts[-1], self._over(parts)), parts)

    def unary(self, parts: list[Any]) -> tree.Unary:
        return self._deep(tree.Unary(str(parts[0]), parts[1], self._over(parts)), parts)

    def binary(self, parts: list[Any]) -> tree.Binary:
        return self._deep(tree.Binary(str(parts[1]), parts[0], parts[2], self._over(parts)), parts)

    def index(self, parts: list[Any]) -> tree.Index:
        return self._deep(tree.Index(parts[0], parts[2], self._over(parts)), parts)

    def interval(self, parts: list[Any]) -> tree.Range:
        return self._deep(tree.Range(parts[0], parts[2], self._over(parts)), parts)

    def parens(self, parts: list[Any]) -> tree.Expr:
        """Parentheses leave no node: they widen the span of what they hold."""
        inner: tree.Expr = replace(parts[1], span=self._over(parts))
        return self._deep(inner, parts)

    def listed(self, parts: list[Any]) -> tree.ListOf:
        items = tuple(part for part in parts if not isinstance(part, Token))
        return self._deep(tree.ListOf(items, self._over(parts)), parts)

    def comprehension(self, parts: list[Any]) -> tree.Comprehension:
        condition = parts[7] if len(parts) > 7 else None
        node = tree.Comprehension(parts[1], self._name(parts[3]), parts[5], condition, self._over(parts))
        return self._deep(node, parts)

    def record(self, parts: list[Any]) -> tree.RecordOf:
        fields = tuple(part for part in parts if isinstance(part, tree.Field))
        seen: dict[str, Any] = {}
        for field in fields:
            self._once(field.name, seen, "field")
            seen.setdefault(field.name.text, field)
        return self._deep(tree.RecordOf(fields, self._over(parts)), parts)

    def field(self, parts: list[Any]) -> tree.Field:
        return self._deep(tree.Field(self._name(parts[0]), parts[2], self._over(parts)), parts)

    def bounds(self, parts: list[Any]) -> FamilyNumbers:
        span = self._over(parts)
        low, high = (self.number([part]).value for part in (parts[1], parts[3]))
        if not (isinstance(low, int) and isinstance(high, int)):
            self._slip("VFL0013", "the bounds of a family must be whole numbers", span, "as in `C{1..26}`")
            return FamilyNumbers(1, 1, span)
        if low > high:
            message = f"this family runs from {low} down to {high}"
            self._slip("VFL0013", message, span, f"write `{{{high}..{low}}}`")
            return FamilyNumbers(low, low, span)
        if high - low >= MAX_FAMILY:
            self._slip(
                "VFL0013",
                f"this family has {high - low + 1} columns",
                span,
                f"a family has at most {MAX_FAMILY}",
            )
            return FamilyNumbers(low, low, span)
        return FamilyNumbers(low, high, span)

    # --- statements -----------------------------------------------------------------------------
