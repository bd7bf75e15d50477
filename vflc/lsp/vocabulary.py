"""The words of the language that have documentation of their own, as editors show it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from msgspec import Struct
from vflc_common.encoders import ENCODERS
from vflc_common.metrics import METRICS

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.library import library_names, library_text
from vflc.ops import FUNCTIONS
from vflc.ops.optimizers import OPTIMIZERS
from vflc.ops.registry import REQUIRED
from vflc.ops.schedules import SCHEDULES
from vflc.syntax import tree
from vflc.syntax.parser import parse


class WordEntry(Struct, frozen=True):
    """A word: how it is called, with which parameters, and what it does."""

    name: str
    kind: str
    parameters: tuple[str, ...]
    doc: str

    @property
    def signature(self) -> str:
        return f"{self.name}({', '.join(self.parameters)})" if self.parameters else self.name


@cache
def words(kind: str) -> dict[str, WordEntry]:
    """Those of a kind (`encoder`, `function`, `metric`, `optimizer` or `schedule`), by name."""
    return {entry.name: entry for entry in _MADE[kind]()}


def find(name: str, *kinds: str) -> WordEntry | None:
    """A word of one of these kinds, or of any."""
    return next((found for kind in kinds or _MADE if (found := words(kind).get(name))), None)


def block_entry(block: tree.Block) -> WordEntry:
    """A block of a spec or a library as an entry."""
    parameters = tuple(" ".join(each.span.text.split()) for each in block.parameters)
    return WordEntry(block.name.text, "block", parameters, " ".join((block.doc or "").split()))


@cache
def library(name: str) -> dict[str, tree.Block]:
    """The blocks of a library that comes with vflc, by name; none where there is no such library."""
    text = library_text(name, ()) if name in library_names() else None
    if text is None:
        return {}
    spec = parse(SourceText(f"library/{name}.vfl", text, library=True), DiagnosticCollector())
    return {item.name.text: item for item in spec.items if isinstance(item, tree.Block)}


def _encoders() -> list[WordEntry]:
    return [
        WordEntry(
            each.name,
            "encoder",
            tuple(p.name + ", …" * p.many if p.needed else f"{p.name} = …" for p in each.parameters),
            " ".join(each.doc.split()),
        )
        for each in ENCODERS
    ]


def _functions() -> list[WordEntry]:
    return [
        WordEntry(
            each.name,
            "function",
            tuple(
                f"{p.name}, …" if p.variadic else _parameter(p.name, p.default, p.default is REQUIRED)
                for p in each.parameters
            ),
            " ".join(each.doc.split()),
        )
        for each in FUNCTIONS.values()
    ]


def _optimizers(kind: str) -> list[WordEntry]:
    records: Any = OPTIMIZERS if kind == "optimizer" else SCHEDULES
    return [
        WordEntry(
            each.name,
            kind,
            tuple(_parameter(name, default, default is None) for name, default in each.parameters.items()),
            " ".join(each.doc.split()),
        )
        for each in records
    ]


def _metrics() -> list[WordEntry]:
    return [
        WordEntry(
            each.name,
            "metric",
            (f"{each.parameter.example:g}",) if each.parameter is not None else (),
            " ".join(each.doc.split()),
        )
        for each in METRICS
    ]


def _parameter(name: str, default: Any, needed: bool) -> str:
    if needed:
        return name
    if default is None:
        return f"{name} = none"
    return f"{name} = {str(default).lower() if isinstance(default, bool) else default}"


_MADE: dict[str, Callable[[], list[WordEntry]]] = {
    "function": _functions,
    "encoder": _encoders,
    "metric": _metrics,
    "optimizer": lambda: _optimizers("optimizer"),
    "schedule": lambda: _optimizers("schedule"),
}
