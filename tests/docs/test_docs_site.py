"""What the site is made of: colours of specs in pages, and a place in the menu for every page."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

from pygments.token import Error, Keyword

from vflc.syntax.tokens import KEYWORDS

ROOT = Path(__file__).parents[2]


def lexer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vfl_lexer", ROOT / "site" / "vfl_lexer.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_words_that_start_statements_have_their_colour() -> None:
    words = {word for body in KEYWORDS.values() for word in body}
    assert {*lexer().STATEMENTS} == words
    for word in words:
        tokens = [
            (kind, text)
            for kind, text in lexer().VflLexer().get_tokens(f"  {word} x {{ a }}\n")
            if text.strip()
        ]
        assert tokens[0] == (Keyword, word), word


def test_all_specs_are_coloured_whole() -> None:
    for path in sorted((ROOT / "specs").rglob("*.vfl")):
        text = path.read_text("utf-8")
        tokens = list(lexer().VflLexer(stripnl=False).get_tokens(text))
        assert "".join(part for _, part in tokens) == text
        assert not [part for kind, part in tokens if kind is Error], path


def test_every_page_is_in_the_menu() -> None:
    menu = re.findall(r"- (\S+\.md)$", (ROOT / "site" / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert len(menu) == len({*menu})
    assert {*menu} == {path.name for path in (ROOT / "docs").glob("*.md")} | {"tutorial.md"}


def test_the_site_needs_no_folder_that_a_clone_lacks() -> None:
    """An empty folder is there for who made it, and in no clone."""
    settings = (ROOT / "site" / "mkdocs.yml").read_text("utf-8")
    named = re.findall(r"\b(?:custom_dir|docs_dir): (\S+)", settings)
    assert named and all(any(path.is_file() for path in (ROOT / "site" / name).rglob("*")) for name in named)
