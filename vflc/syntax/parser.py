"""Text to tree. Every mistake of a file is reported in one run, none as an exception.

A statement that does not parse is left out, the rest is parsed again; the names it would have
bound go to `Spec.poisoned`, so that nobody complains that they are unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Lock

from msgspec import Struct
from vflc_common.text import is_hidden

from vflc.diagnostics import Diagnostic, DiagnosticCollector, Refused, SourceText, Span
from vflc.syntax.builder import Builder
from vflc.syntax.expressions import MAX_DEPTH, TooDeep
from vflc.syntax.hidden import report_hidden, report_lookalikes
from vflc.syntax.lalr import END, Lexer, Parser, Tables, Token
from vflc.syntax.reuse import ParsedText, lexed, middle, moved, parsed_between
from vflc.syntax.tokens import Scan, scan
from vflc.syntax.tree import Item, Spec

MAX_CHARACTERS = 200_000
MAX_BYTES = 4 * MAX_CHARACTERS
MAX_ERRORS = 25
"""So many statements that do not parse are reported; a file with more is not a spec."""

_STRAY_HELP = {
    ";": "remove it: statements need no separator",
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`, or `!=`",
    "^": "write a power as `**`",
}


def read_source(path: Path, name: str | None = None) -> SourceText:
    """The text of a file, shown in diagnostics as `name` (the path as given).

    Raises:
        Refused: VFL0016 it cannot be read, VFL0008 it is too large, VFL0007 it is not UTF-8.
    """
    shown = name or str(path)
    try:
        with path.open("rb") as file:  # no more than a spec may have: a device may have no end
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise Refused([_too_large(SourceText(shown, ""))])
        return SourceText(shown, content.decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise Refused([_not_text(shown, content, error.start)]) from None
        reason = getattr(error, "strerror", None) or error
        help = "check the path and its permissions"
        raise Refused([Diagnostic("VFL0016", f"cannot read {shown}: {reason}", None, help)]) from None


def _not_text(shown: str, content: bytes, start: int) -> Diagnostic:
    good = content[:start].decode("utf-8-sig", "replace")
    place = Span(SourceText(shown, good), len(good), len(good))
    message = f"{shown} is not UTF-8 text: byte {start + 1} is invalid"
    return Diagnostic("VFL0007", message, place, "save the file as UTF-8")


def parse(source: SourceText, collector: DiagnosticCollector) -> Spec:
    """The tree of what can be parsed; what cannot goes to `collector` (VFL0001 to VFL0015).

    Never raises for anything in the text.
    """
    return parse_again(source, collector).spec


def parse_again(
    source: SourceText, collector: DiagnosticCollector, before: ParsedText | None = None
) -> ParsedText:
    """The same of another version of a text: statements that did not change since `before` are not parsed."""
    everything = Span(source, 0, len(source.text))
    if len(source.text) > MAX_CHARACTERS:
        found = _too_large(source)
        collector.error(found.code, found.message, found.span, found.help)
        return ParsedText(Spec((), (), frozenset(), everything), None, (), False)
    parser = _parser()
    with parser.lock:
        return parser.parse(source, collector, everything, before)


def _too_large(source: SourceText) -> Diagnostic:
    message = f"{source.name} has more than {MAX_CHARACTERS:,} characters"
    return Diagnostic(
        "VFL0008", message, Span(source, 0, 0), "check that this is the right file: specs are short"
    )


@cache
def _parser() -> _Parser:
    return _Parser()


class _Parser:
    """The grammar's tables with the builder that they call. One parse at a time: hold `lock`."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.builder = Builder()
        self.tables = Tables.load()
        self.lexer = Lexer(self.tables)
        self.methods = Parser.methods_of(self.tables, self.builder)

    def parse(
        self,
        source: SourceText,
        collector: DiagnosticCollector,
        everything: Span,
        before: ParsedText | None,
    ) -> ParsedText:
        tokens = lexed(self.lexer, source.text, before)
        report_hidden(source, collector)
        _report_strays(source, tokens.ignored, collector)
        report_lookalikes(source, tokens.kept, collector)
        found = scan(source, tokens.kept, tokens.ignored, collector)
        poisoned: set[str] = set()
        items: tuple[Item, ...] = ()
        kept = self._kept(found, before) if before is not None and not found.damaged else None
        for _ in range(MAX_ERRORS):
            result = self._attempt(found) if kept is None else kept
            if isinstance(result, tuple):
                items = result
                break
            poisoned.update(self._left_out(found, result, collector))
        else:
            from vflc.syntax.recovery import words

            poisoned.update(words(found.tokens))
        for slip in self.builder.slips:
            collector.error(slip.code, slip.message, slip.span, slip.help, *slip.labels)
        poisoned |= self.builder.dropped
        collector.left_out |= poisoned
        spec = Spec(items, found.comments, frozenset(poisoned), everything)
        return ParsedText(spec, tokens, found.tokens, not (poisoned or found.damaged or self.builder.slips))

    def _kept(self, found: Scan, before: ParsedText) -> tuple[Item, ...] | None:
        """The statements of a text with those that it shares with another; None where it is parsed anew."""
        new = middle(before, found.source, found.tokens)
        if new is None:
            return None
        self.builder.begin(found.source, found.damaged)
        try:
            between = parsed_between(Parser(self.tables, self.methods), new)
        except TooDeep:
            return None
        if between is None or self.builder.slips or self.builder.dropped:
            return None
        items, by = before.spec.items, len(found.source.text) - len(before.text)
        head = moved(items[: new.head], found.source, 0)
        return (*head, *between, *moved(items[len(items) - new.tail :], found.source, by))

    def _left_out(self, found: Scan, stopped: _Stopped, collector: DiagnosticCollector) -> list[str]:
        """Reports a statement that does not parse, and takes it out; the names in it."""
        from vflc.syntax import recovery

        failure = recovery.locate(self.tables, found, stopped.index - (stopped.deep is not None))
        if stopped.deep:
            _report_deep(stopped.deep, collector)
        else:
            recovery.report(found, failure, collector)
        start, end = recovery.extent(found, failure)
        names = list(recovery.words(found.tokens[start:end]))
        del found.tokens[start:end], found.bodies[start:end]
        return names

    def _attempt(self, found: Scan) -> tuple[Item, ...] | _Stopped:
        self.builder.begin(found.source, found.damaged)
        parser = Parser(self.tables, self.methods)
        for index, token in enumerate([*found.tokens, Token(END, "")]):
            try:
                if not parser.take(token):
                    return _Stopped(index)
            except TooDeep as error:
                return _Stopped(index, error.span)
        items: tuple[Item, ...]
        (items,) = parser.values
        return items


class _Stopped(Struct, frozen=True):
    """The parser got to this token and no further; `deep` is what nests too deeply there."""

    index: int
    deep: Span | None = None


def _report_strays(source: SourceText, ignored: Sequence[Token], collector: DiagnosticCollector) -> None:
    end = -1
    for token in ignored:
        start = token.start_pos
        if token.type == "STRAY":
            beside, end = start == end, token.end_pos
            if beside or is_hidden(token.value[0]):  # `&&` is one mistake
                continue
        if token.type == "STRAY" and token.value[0].isdecimal():
            place = Span(source, start, start + len(token.value))
            help = "start a name with a letter; write a number as 1_000, 0.5 or 1e-3"
            collector.error("VFL0009", f"`{token}` is neither a number nor a name", place, help)
        elif token.type == "STRAY":
            place, shown = Span(source, start, start + 1), token.value
            shown = shown if shown.isprintable() else f"U+{ord(shown):04X}"
            help = _STRAY_HELP.get(token.value, "remove it; put text in quotes, and comments after #")
            collector.error("VFL0004", f"unexpected character `{shown}`", place, help)


def _report_deep(span: Span, collector: DiagnosticCollector) -> None:
    collector.error(
        "VFL0006",
        f"this expression is nested more than {MAX_DEPTH} levels deep",
        Span(span.source, span.start, min(span.end, span.start + 20)),
        "bind parts of it to names; write a long sum as a comprehension: `sum([… for i in 1..200])`",
    )
