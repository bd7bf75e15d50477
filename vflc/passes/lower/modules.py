"""Files and library blocks that a spec uses, and the names that a module binds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path

from msgspec import Struct, field

from vflc.diagnostics import DiagnosticCollector, Refused, RelatedSpan, SourceText, Span
from vflc.diagnostics.suggest import did_you_mean
from vflc.library import library_names, library_text
from vflc.passes.lower.values import (
    ABSENT,
    NO_FOLDER,
    POISON,
    BlockValue,
    LazyValue,
    OutsideValue,
    Poison,
    Scope,
)
from vflc.syntax import tree
from vflc.syntax.parser import MAX_CHARACTERS, parse, read_source

MOST_FILES = 100
"""That one spec uses, those that they use in turn included."""
NO_FILES: Mapping[Path, str] = {}
BESIDE = "use a .vfl file in the folder of the spec or below it"


class Modules(Struct):
    """Parses each used file once.

    Args:
        folder: where the spec lies, None where it has no file.
        files: texts that stand for what lies there.
    """

    collector: DiagnosticCollector
    folder: Path | None
    files: Mapping[Path, str] = NO_FILES
    _loaded: dict[str, Scope] = field(default_factory=dict)
    _files: int = 0
    _characters: int = 0

    def open(self, spec: tree.Spec, scope: Scope, folder: Path | None) -> None:
        """Binds the blocks of a module and what it imports."""
        for item in spec.items:
            if isinstance(item, tree.Block):
                self.bind(scope, LazyValue.known(item.name.text, item.name.span, BlockValue(item, scope)))
            if isinstance(item, tree.Outside):
                self._outside(item, scope, folder)
        for item in spec.items:
            if isinstance(item, tree.Import):
                self._import(item, scope, folder)

    def bind(self, scope: Scope, bound: LazyValue) -> None:
        """Adds a name that must not be bound yet."""
        first = scope.names.get(bound.name)
        if first is not None:
            self.collector.error(
                "VFL0102",
                f"`{bound.name}` is bound twice",
                bound.span,
                "choose another name: a name can be bound only once",
                RelatedSpan(first.span, "first here"),
            )
            return
        scope.names[bound.name] = bound

    def _outside(self, item: tree.Outside, scope: Scope, folder: Path | None) -> None:
        """Binds a block that another tool made; after a mistake its uses are none."""
        file = next((a.value for a in item.value.arguments if isinstance(a.value, tree.String)), None)
        path: Path | str = NO_FOLDER
        if file is not None and folder is not None and self.folder is not None:
            path = beside(file.value, folder, self.folder, ".onnx")
        from vflc.passes.lower.outside import open_outside  # few specs need it

        value = open_outside(item, path, self.collector)
        self.bind(scope, LazyValue.known(item.name.text, item.name.span, value or POISON))

    def _import(self, item: tree.Import, scope: Scope, folder: Path | None) -> None:
        module = self._library(item) if item.library else self._file(item, folder)
        if module is None:
            self.collector.left_out |= {name.text for name in item.names}
            return
        blocks = {
            n: b
            for n, b in module.names.items()
            if (isinstance(b.value, BlockValue) and b.value.module is module)
            or isinstance(b.value, OutsideValue | Poison)
        }
        for name in item.names or [tree.Name(n, item.span) for n in blocks]:
            if name.text in blocks:
                self.bind(scope, LazyValue.known(name.text, name.span, blocks[name.text].value))
                continue
            near = did_you_mean(name.text, blocks)
            help = f"did you mean `{near}`?" if near else f"use one of: {', '.join(blocks) or 'no blocks'}"
            self.collector.error("VFL0108", f"there is no block `{name.text}` here", name.span, help)
            self.collector.left_out.add(name.text)

    def _library(self, item: tree.Import) -> Scope | None:
        assert item.library
        name, blocks = item.library.text, tuple(each.text for each in item.names)
        spec = _parsed_library(name, blocks)
        if spec is None:
            near = did_you_mean(name, library_names())
            help = (
                f"did you mean `{near}`?" if near else f"use one of: {', '.join(library_names()) or 'none'}"
            )
            self.collector.error("VFL0108", f"unknown library `{name}`", item.library.span, help)
            return None
        key = f"library:{name}:{' '.join(blocks)}"
        if key not in self._loaded:
            self._loaded[key] = scope = Scope()
            self.open(spec, scope, None)
        return self._loaded[key]

    def _file(self, item: tree.Import, folder: Path | None) -> Scope | None:
        assert item.file
        if folder is None or self.folder is None:
            self.collector.error("VFL0108", NO_FOLDER, item.file.span)
            return None
        path = beside(item.file.value, folder, self.folder, ".vfl", self.files)
        if isinstance(path, str):
            self.collector.error("VFL0108", path, item.file.span, BESIDE)
            return None
        name = item.file.value
        text = self.files.get(path)
        read = partial(read_source, path, name) if text is None else partial(SourceText, name, text)
        return self._load(str(path), path.parent, read, item.file.span)

    def _load(self, key: str, folder: Path, load: Callable[[], SourceText], span: Span) -> Scope | None:
        if key not in self._loaded:
            try:
                source = load()
            except Refused as refused:
                for found in refused.diagnostics:
                    self.collector.error(
                        "VFL0108", f"the file cannot be used: {found.message}", span, found.help
                    )
                return None
            if not self._within_budget(source, span):
                return None
            self._loaded[key] = scope = Scope()
            self.open(parse(source, self.collector), scope, folder)
        return self._loaded[key]

    def _within_budget(self, source: SourceText, span: Span) -> bool:
        """Files are read one after another, each once, until they are more than one spec may be."""
        self._files += 1
        self._characters += len(source.text)
        if self._files > MOST_FILES:
            message = f"the spec uses more than {MOST_FILES} files"
        elif self._characters > MAX_CHARACTERS:
            message = f"the files that the spec uses have more than {MAX_CHARACTERS:,} characters in all"
        else:
            return True
        self.collector.error("VFL0008", message, span, "use fewer or smaller files")
        return False


@lru_cache(maxsize=64)
def _parsed_library(name: str, blocks: tuple[str, ...]) -> tree.Spec | None:
    """Those blocks of a library, and what they use; kept, as a process often compiles what uses the same."""
    text = library_text(name, blocks)
    if text is None:
        return None
    return parse(SourceText(f"library/{name}.vfl", text, True), DiagnosticCollector())


def beside(
    name: str, folder: Path, root: Path, suffix: str, files: Mapping[Path, str] = NO_FILES
) -> Path | str:
    """The file that `name` means in `folder`, or why it may not be used.

    A spec may come from somebody else, and a diagnostic shows lines of what it is about: what lies
    elsewhere, or ends otherwise, is not opened at all. That holds for what a link leads to.
    """
    try:
        path = (folder / name).resolve()
        if Path(name).is_absolute() or not path.is_relative_to(root.resolve()):
            return f"{name} is outside the folder of the spec"
        if path.suffix != suffix:
            return f"{name} is not {'an' if suffix == '.onnx' else 'a'} {suffix} file"
        if path in files:
            return path
        if not path.exists():
            return f"{ABSENT} {name}"
        return path if path.is_file() else f"{name} is not a file"
    except (OSError, ValueError, RuntimeError):  # too long, with a zero byte, links in a circle
        return f"{name} is not the name of a file"
