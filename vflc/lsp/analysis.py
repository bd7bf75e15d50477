"""A text as features read it: what the driver found, the names in it, and what is still known of it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from vflc.diagnostics import SourceText, Span
from vflc.driver import Examined, examine
from vflc.lsp import names
from vflc.lsp.facts import SpecFacts, facts
from vflc.syntax import tree


class Document:
    """One version of a text.

    Where it does not parse, names are those of the statements that do, and facts are those of the last
    version that had some.
    """

    def __init__(self, text: str, path: Path | None = None, before: Document | None = None) -> None:
        self.path = path
        self.source = SourceText(str(path) if path is not None else "spec.vfl", text)
        self.examined: Examined = examine(self.source, path.parent if path is not None else None)
        self._earlier = before._last if before is not None else None

    @property
    def text(self) -> str:
        return self.source.text

    @property
    def spec(self) -> tree.Spec:
        if self.examined.spec is not None:
            return self.examined.spec
        return tree.Spec((), (), frozenset(), Span(self.source, 0, len(self.text)))

    @cached_property
    def names(self) -> list[names.Occurrence]:
        return names.occurrences(self.spec)

    @cached_property
    def facts(self) -> SpecFacts:
        """What the compiler knows, of this text or of the last that it could read."""
        return self._last or SpecFacts({})

    @cached_property
    def _last(self) -> SpecFacts | None:
        return facts(self.examined) or self._earlier

    def again(self, text: str) -> Document:
        """The same document with another text."""
        return self if text == self.text else Document(text, self.path, self)
