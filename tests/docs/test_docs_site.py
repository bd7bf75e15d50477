"""What the site is made of: colours of specs in pages, and a place in the menu for every page."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

from pygments.token import Error, Keyword

from vflc.syntax.tokens import KEYWORDS

ROOT = Path(__file__).parents[2]


def of_site(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "site" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_words_that_start_statements_have_their_colour() -> None:
    words = {word for body in KEYWORDS.values() for word in body}
    assert {*of_site("vfl_lexer").STATEMENTS} == words
    for word in words:
        tokens = [
            (kind, text)
            for kind, text in of_site("vfl_lexer").VflLexer().get_tokens(f"  {word} x {{ a }}\n")
            if text.strip()
        ]
        assert tokens[0] == (Keyword, word), word


def test_all_specs_are_coloured_whole() -> None:
    for path in sorted((ROOT / "specs").rglob("*.vfl")):
        text = path.read_text("utf-8")
        tokens = list(of_site("vfl_lexer").VflLexer(stripnl=False).get_tokens(text))
        assert "".join(part for _, part in tokens) == text
        assert not [part for kind, part in tokens if kind is Error], path


def test_options_in_a_line_of_text_do_not_break_after_their_hyphens() -> None:
    made = of_site("unbroken")
    page = (
        "<p>a-b <code>vflc train --device cuda</code></p><pre><code>x --y</code></pre>"
        '<code class="highlight"><span class="n-a">x</span> -1</code><code>{}</code>'
    ).format("-" * made.MOST + "x")
    found = made.unbroken(page)
    whole = '<span class="unbroken">{}</span>'
    assert found == page.replace("--device", whole.format("--device")).replace(
        "> -1", "> " + whole.format("-1")
    )
    assert f".{made.CLASS} {{ white-space: nowrap; }}" in (ROOT / "docs" / "site.css").read_text()


def test_every_page_is_in_the_menu() -> None:
    menu = re.findall(r"- (\S+\.md)$", (ROOT / "site" / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert len(menu) == len({*menu})
    assert {*menu} == {path.name for path in (ROOT / "docs").glob("*.md")} | {"tutorial.md"}


def test_the_site_needs_no_folder_that_a_clone_lacks() -> None:
    """An empty folder is there for who made it, and in no clone."""
    settings = (ROOT / "site" / "mkdocs.yml").read_text("utf-8")
    named = re.findall(r"\b(?:custom_dir|docs_dir): (\S+)", settings)
    assert named and all(any(path.is_file() for path in (ROOT / "site" / name).rglob("*")) for name in named)
