"""tree-sitter's parser takes the texts that vflc's takes, and builds the same trees."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.syntax.lalr import END, Lexer, Parser, Tables, Token
from vflc.syntax.tokens import KEYWORDS, scan

tree_sitter = pytest.importorskip("tree_sitter")
ROOT = Path(__file__).parents[2]
HERE = ROOT / "grammars" / "tree-sitter-vfl"
FOLDERS = (ROOT / "specs", ROOT / "vflc" / "library", Path(__file__).parent / "good")
PATHS = sorted(path for folder in FOLDERS for path in folder.rglob("*.vfl"))
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
TABLES = Tables.load()

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Any:
    library = tmp_path_factory.mktemp("tree-sitter") / "vfl.so"
    sources = [str(HERE / "src" / name) for name in ("parser.c", "scanner.c")]
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{HERE / 'src'}"]
    assert COMPILER is not None
    subprocess.run([COMPILER, *flags, *sources, "-o", str(library)], check=True)
    made = ctypes.CDLL(str(library)).tree_sitter_vfl
    made.restype = ctypes.c_void_p
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return tree_sitter.Language(capsule(made(), b"tree_sitter.Language", None))


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", HERE / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_parser_is_made_of_the_tables() -> None:
    for path, text in generator().files().items():
        assert path.read_text("utf-8") == text, "run: python grammars/tree-sitter-vfl/generate.py"


class Noting:
    """A builder whose values say what was called with what."""

    def __getattr__(self, name: str) -> Any:
        return lambda parts: (name, *parts)


def ours(text: str) -> Any:
    parser = Parser(TABLES, Parser.methods_of(TABLES, Noting()))
    tokens = scan(SourceText("spec.vfl", text), *Lexer(TABLES).lex(text), DiagnosticCollector()).tokens
    assert all(parser.take(token) for token in [*tokens, Token(END, "")])
    return plain(parser.values[0])


def plain(value: Any) -> Any:
    return tuple(map(plain, value)) if isinstance(value, tuple) else str(value)


def theirs(node: Any) -> Any:
    if not node.children and node.type != "source_file" and node.text:
        return node.text.decode()
    called = "start" if node.type == "source_file" else node.type
    return (called, *(theirs(child) for child in node.children if child.type != "comment"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_trees_are_alike(path: Path, language: Any) -> None:
    text = path.read_text("utf-8")
    root = tree_sitter.Parser(language).parse(text.encode()).root_node
    assert not root.has_error
    assert theirs(root) == ours(text)


def test_every_word_is_known_to_the_scanner() -> None:
    scanner = (HERE / "src" / "scanner.c").read_text("utf-8")
    words = {word for body in KEYWORDS.values() for word in body} | {*TABLES.words}
    assert [word for word in sorted(words) if f'{{"{word}", ' not in scanner] == []


@pytest.mark.parametrize("query", ["highlights", "folds", "indents"])
def test_queries_name_what_there_is(query: str, language: Any) -> None:
    found = tree_sitter.Query(language, (HERE / "queries" / f"{query}.scm").read_text("utf-8"))
    text = (ROOT / "specs" / "deepfm" / "deepfm.vfl").read_bytes()
    caught = tree_sitter.QueryCursor(found).captures(tree_sitter.Parser(language).parse(text).root_node)
    assert len(caught) >= {"highlights": 12, "folds": 1, "indents": 3}[query]
    if query == "highlights":
        shown = {name: {node.text.decode() for node in nodes} for name, nodes in caught.items()}
        assert {"party", "feature", "predict", "train"} <= shown["keyword"]
        assert {"alice", "bob"} <= shown["module"] and "vocab" in shown["function.builtin"]


def test_what_follows_a_mistake_is_read(language: Any) -> None:
    text = b"party a {\n  key ID\n  feature X:\n}\nx = = 3\ny = dense(x, 1)\npredict z = y\n"
    root = tree_sitter.Parser(language).parse(text).root_node
    assert root.has_error
    assert [each.type for each in root.children][-2:] == ["binding", "predict"]


WRITTEN = st.sampled_from(["", "}", "{", "x = 3\n", "label", "at", '"', "é🦊 "])
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), WRITTEN), min_size=1, max_size=4)
"""Where in the text, how many bytes are removed, and what is written there."""


@settings(max_examples=40)
@given(edits=EDITS, path=st.sampled_from(PATHS))
def test_what_is_undone_leaves_no_trace(
    edits: list[tuple[float, int, str]], path: Path, language: Any
) -> None:
    """Each edit is parsed with the tree before it. Trees of wrong texts need not be those of a first look."""
    parser, text = tree_sitter.Parser(language), path.read_bytes()
    tree = first = parser.parse(text)
    undo: list[tuple[int, int, bytes]] = []
    for where, removed, written in edits:
        start = min(int(where * len(text)), len(text))
        end = min(start + removed, len(text))
        undo.append((start, start + len(written.encode()), text[start:end]))
        text, tree = edited(parser, text, tree, start, end, written.encode())
    for start, end, written in reversed(undo):
        text, tree = edited(parser, text, tree, start, end, written)
    assert text == path.read_bytes()
    assert str(tree.root_node) == str(first.root_node)


def edited(parser: Any, text: bytes, tree: Any, start: int, end: int, written: bytes) -> tuple[bytes, Any]:
    after, stop = text[:start] + written + text[end:], start + len(written)
    tree.edit(start, end, stop, point(text, start), point(text, end), point(after, stop))
    return after, parser.parse(after, tree)


def point(text: bytes, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count(b"\n"), offset - (before.rfind(b"\n") + 1)
