"""A text as features read it: what the driver found, the names in it, and what is still known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path

from vflc.diagnostics import Diagnostic, DiagnosticCollector, Refused, SourceText
from vflc.driver import Examined, examine
from vflc.lsp import names
from vflc.lsp.facts import SpecFacts, facts
from vflc.passes.lower.modules import MOST_FILES, NO_FILES, beside
from vflc.passes.lower.values import ABSENT
from vflc.syntax import tree
from vflc.syntax.parser import parse, parse_again, read_source
from vflc.syntax.reuse import ParsedText


def _go_on() -> None:
    """No check is called off."""


class Document:
    """One version of a text: parsed and checked when first asked for.

    Where it does not parse, names are those of the statements that do, and facts are those of the last
    version that had some.

    Args:
        path: where it lies, or would lie; None of a text without a place, which can use no files.
        before: the version that it was made of.
        files: texts that stand for files, by absolute path: what is open, or all there is.
    """

    def __init__(
        self,
        text: str,
        path: Path | None = None,
        before: Document | None = None,
        files: Mapping[Path, str] = NO_FILES,
    ) -> None:
        self.path, self.files = path, files
        self.source = SourceText(str(path) if path is not None else "spec.vfl", text)
        self._before = before.last_checked() if before is not None else None
        self._parsed = before.parsed if before is not None else None
        self.going: Callable[[], None] = before.going if before is not None else _go_on
        self._examined: Examined | None = None

    @property
    def text(self) -> str:
        return self.source.text

    @property
    def is_checked(self) -> bool:
        return self._examined is not None

    def check(self, going: Callable[[], None] | None = None) -> Examined:
        """What the driver says, found once.

        What `going` raises ends the check, and nothing is found; it is also called where other texts are
        checked that are made of this one, as to find out whether a fix mends it.
        """
        self.going = going or self.going
        if self._examined is None:
            folder = self.path.parent if self.path is not None else None
            self._examined = examine(self.source, folder, self.files, self.going, self._parsed)
        return self._examined

    @property
    def examined(self) -> Examined:
        return self.check()

    @property
    def diagnostics(self) -> list[Diagnostic]:
        return self.check().diagnostics

    @property
    def parsed(self) -> ParsedText | None:
        """What the next version may keep: of this text, or of the last that was looked at."""
        return self._examined.parsed if self._examined is not None else self._parsed

    @cached_property
    def spec(self) -> tree.Spec:
        if self._examined is not None and self._examined.spec is not None:
            return self._examined.spec
        return parse_again(self.source, DiagnosticCollector(), self._parsed).spec

    @cached_property
    def used(self) -> dict[str, tuple[Path, tree.Block | tree.Outside]]:
        """Blocks of files that this one uses, by name, each with its file."""
        return dict(self._used())

    @cached_property
    def blocks(self) -> dict[str, tree.Block]:
        """All blocks that it may call."""
        others = {name: item for name, (_, item) in self.used.items() if isinstance(item, tree.Block)}
        return names.blocks(self.spec, others)

    @cached_property
    def names(self) -> list[names.Occurrence]:
        return names.occurrences(self.spec, self.blocks)

    @property
    def known(self) -> SpecFacts | None:
        """Facts that are there without a check: of this text, or of an earlier version."""
        return self._last if self.is_checked else self._earlier

    @property
    def _earlier(self) -> SpecFacts | None:
        """Facts of the last version before this one that had some."""
        return self._before.known if self._before is not None else None

    def last_checked(self) -> Document | None:
        """The last version that was checked, up to this: one with facts, if there is one."""
        if self._examined is None or (self._examined.model is None and self._before is not None):
            return self._before
        self._before = None  # what has facts needs no other's
        return self

    @property
    def facts(self) -> SpecFacts:
        """What the compiler knows, of this text or of the last that it could read."""
        return self._last or SpecFacts({})

    @cached_property
    def _last(self) -> SpecFacts | None:
        return facts(self.check(), self.blocks) or self._earlier

    def again(self, text: str, files: Mapping[Path, str] | None = None) -> Document:
        """The same document with another text, or beside other files."""
        if text == self.text and files is None:
            return self
        return Document(text, self.path, self, self.files if files is None else files)

    def imports(self) -> Iterator[tuple[tree.Import, Path]]:
        """Each `use` of a file that is there."""
        yield from self._imports(self.spec, self.path)

    def reached(self) -> set[Path]:
        """Files that it uses, and those that they use; also those that are gone, or not yet there."""
        found: set[Path] = set()
        todo = [path for _, path in self._imports(self.spec, self.path, absent=True)]
        while todo and len(found) < MOST_FILES:
            path = todo.pop()
            if path not in found:
                found.add(path)
                if (text := self._read(path)) is not None:
                    todo += [inner for _, inner in self._imports(parsed(str(path), text), path, absent=True)]
        return found

    def _imports(
        self, spec: tree.Spec, path: Path | None, absent: bool = False
    ) -> Iterator[tuple[tree.Import, Path]]:
        if path is None or self.path is None:
            return
        for item in spec.items:
            if isinstance(item, tree.Import) and item.file is not None:
                place = beside(item.file.value, path.parent, self.path.parent, ".vfl", self.files)
                if isinstance(place, Path):
                    yield item, place
                elif absent and place.startswith(ABSENT):
                    yield item, (path.parent / item.file.value).resolve()

    def _used(self) -> Iterator[tuple[str, tuple[Path, tree.Block | tree.Outside]]]:
        for use, path in self.imports():
            wanted = {name.text for name in use.names}
            text = self._read(path)
            for item in parsed(str(path), text).items if text is not None else ():
                if isinstance(item, tree.Block | tree.Outside) and (not wanted or item.name.text in wanted):
                    yield item.name.text, (path, item)

    def _read(self, path: Path) -> str | None:
        if (text := self.files.get(path)) is not None:
            return text
        try:
            return read_source(path).text
        except Refused:
            return None


@lru_cache(256)
def parsed(name: str, text: str) -> tree.Spec:
    """What of a text can be parsed."""
    return parse(SourceText(name, text), DiagnosticCollector())
