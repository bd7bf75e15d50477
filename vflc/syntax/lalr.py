"""Tokens and reductions by the tables that lark makes of the grammar (`vflc.syntax.tables`).

lark itself is not needed to read a spec: to import it, and to build its tables, takes longer than all else
that a check does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import vflc_grammars
from msgspec import Struct, field, json

TABLES = "vfl.tables.json"
END = "$END"
"""The type of what stands after the last token."""
START = "start"
"""The rule of the whole, which only `END` completes."""

Row = Mapping[str, int]
"""What a state does by the type of what comes: `n` goes on to state n, `~n` reduces by rule n."""


class Token(str):
    """A word or a sign of the text, `value`, at its offsets; its `type` is a terminal of the grammar."""

    __slots__ = ("end_pos", "start_pos", "type", "value")
    type: str
    value: str
    start_pos: int
    end_pos: int

    def __new__(cls, type: str, value: str, start_pos: int = 0, end_pos: int = 0) -> Self:
        self = str.__new__(cls, value)
        self.type, self.value, self.start_pos, self.end_pos = type, value, start_pos, end_pos
        return self

    def moved(self, by: int) -> Token:
        """The same, so many characters later."""
        return Token(self.type, self.value, self.start_pos + by, self.end_pos + by)


class LexedText(NamedTuple):
    """The tokens of a text that rules have, and those that none has, but for space."""

    kept: Sequence[Token]
    ignored: Sequence[Token]


class GrammarRule(Struct, frozen=True):
    """One way to make `origin`, of `size` parts.

    Args:
        method: of the builder, which makes it of the parts; None where the parts are all there is.
        spliced: which parts stand for parts of their own.
        single: whether one part alone is taken as it is.
        lone: whether there is never another: most rules of an operator pass on what binds tighter.
    """

    origin: str
    size: int
    method: str | None
    spliced: tuple[int, ...]
    single: bool
    lone: bool

    def parts(self, values: list[Any]) -> list[Any]:
        """The parts, from what is on the stack, where some stand for their own."""
        found: list[Any] = []
        for index, value in enumerate(values):
            if index not in self.spliced:
                found.append(value)
            elif found:
                found += value
            else:
                found = value  # long lists grow at their end, one part at a time
        return found


class Tables(Struct, frozen=True):
    """What lark knows of the grammar.

    Args:
        grammar: the digest of the text that they are made of.
        pattern: a regular expression whose groups are the terminals.
        words: types of names that are words of the language.
        ignored: types that no rule has.
        states: one row a state.
        passed: where rules that only pass on lead, by the two uppermost states and what comes, once found.
    """

    grammar: str
    pattern: str
    words: Mapping[str, str]
    ignored: tuple[str, ...]
    rules: tuple[GrammarRule, ...]
    states: tuple[Row, ...]
    start: int
    passed: dict[tuple[int, int, str], int] = field(default_factory=dict)

    @classmethod
    def load(cls) -> Self:
        """Those in the package."""
        data = json.decode(Path(vflc_grammars.__file__).with_name(TABLES).read_bytes())
        rules, rows = tuple(GrammarRule(*rule) for rule in data["rules"]), data.pop("rows")
        return cls(**{**data, "rules": rules, "states": tuple(rows[row] for row in data["states"])})

    def advance(self, stack: list[int], type: str) -> bool:
        """Takes a token of this type; False where it does not fit (`stack` may be reduced)."""
        while True:
            action = self.states[stack[-1]].get(type)
            if action is None:
                return False
            if action >= 0:
                stack.append(action)
                return True
            rule = self.rules[~action]
            if rule.size:
                del stack[-rule.size :]
            stack.append(self.states[stack[-1]][rule.origin])
            if rule.origin == START:
                return True

    def accepts(self, stack: list[int], type: str) -> bool:
        """Whether a token of this type would fit; `stack` stays as it is."""
        below, above = len(stack), list[int]()
        while True:
            action = self.states[above[-1] if above else stack[below - 1]].get(type)
            if action is None or action >= 0:
                return action is not None
            rule = self.rules[~action]
            below -= max(0, rule.size - len(above))
            del above[max(0, len(above) - rule.size) :]
            above.append(self.states[above[-1] if above else stack[below - 1]][rule.origin])
            if rule.origin == START:
                return True

    def expected(self, stack: list[int]) -> frozenset[str]:
        """Types of all tokens that would fit."""
        types = (type for type in self.states[stack[-1]] if type.isupper())
        return frozenset(type for type in types if self.accepts(stack, type))


class Lexer:
    """Cuts a text into tokens; every character is in one."""

    def __init__(self, tables: Tables) -> None:
        self.matches = re.compile(tables.pattern).finditer
        self.words, self.ignored = tables.words, frozenset(tables.ignored)

    def lex(self, text: str, start: int = 0, stop: int | None = None) -> LexedText:
        """The tokens of a text, or of some lines of it: none but space goes on from one line to the next."""
        kept: list[Token] = []
        ignored: list[Token] = []
        stop = len(text) if stop is None else stop
        words, passed, at = self.words, self.ignored, start
        for found in self.matches(text, start, stop):
            type, value = found.lastgroup, found.group()
            assert type, "each terminal is a group"
            end = at + len(value)
            if type == "NAME":
                kept.append(Token(words.get(value, type), value, at, end))
            elif type not in passed:
                kept.append(Token(type, value, at, end))
            elif type != "SPACE":
                ignored.append(Token(type, value, at, end))
            at = end
        assert at == stop, "some terminal takes any character"
        return LexedText(kept, ignored)


class Parser:
    """One parse, from the first token on.

    Args:
        methods: of the builder, one a rule.
    """

    def __init__(self, tables: Tables, methods: Sequence[Callable[[list[Any]], Any]]) -> None:
        self.tables, self.methods = tables, methods
        self.states, self.values = [tables.start], list[Any]()

    @staticmethod
    def methods_of(tables: Tables, builder: object) -> list[Callable[[list[Any]], Any]]:
        """What makes a value of the parts of each rule."""
        return [getattr(builder, rule.method) if rule.method else _same for rule in tables.rules]

    def take(self, token: Token) -> bool:
        """Takes a token, and builds what is complete before it; False where it does not fit.

        `values` has one value, that of the whole, after the token `END`.
        """
        rows, rules, states, values = self.tables.states, self.tables.rules, self.states, self.values
        type = token.type
        while True:
            action = rows[states[-1]].get(type)
            if action is None:
                return False
            if action >= 0:
                states.append(action)
                values.append(token)
                return True
            rule = rules[~action]
            if rule.lone:
                self._pass_on(type)
                continue
            parts: list[Any] = []
            if rule.size:
                parts = values[-rule.size :]
                del states[-rule.size :], values[-rule.size :]
            if rule.spliced:
                parts = rule.parts(parts)
            single = rule.single and len(parts) == 1
            values.append(parts[0] if single else self.methods[~action](parts))
            states.append(rows[states[-1]][rule.origin])
            if rule.origin == START:
                return True

    def put(self, first: Token, origin: str, value: Any) -> bool:
        """Takes what was made before of tokens that begin as `first`; False where it does not fit."""
        if not self.take(first):
            return False
        del self.states[-1], self.values[-1]
        self.states.append(self.tables.states[self.states[-1]][origin])
        self.values.append(value)
        return True

    def _pass_on(self, type: str) -> None:
        """Reduces by rules that only pass on what binds tighter, as many as there are before a token."""
        top, below = self.states.pop(), self.states[-1]
        key = (below, top, type)
        if (reached := self.tables.passed.get(key)) is None:
            rows, rules, reached = self.tables.states, self.tables.rules, top
            while (action := rows[reached].get(type)) is not None and action < 0 and rules[~action].lone:
                reached = rows[below][rules[~action].origin]
            self.tables.passed[key] = reached
        self.states.append(reached)


def _same(parts: list[Any]) -> list[Any]:
    return parts
