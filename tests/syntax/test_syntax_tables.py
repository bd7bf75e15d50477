"""The tables that start-up reads are those of the grammar, and what they do with a text is what lark does."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import lark
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.syntax.builder import Builder
from vflc.syntax.lalr import END, TABLES, Lexer, Parser, Tables, Token
from vflc.syntax.tables import OPTIONS, grammar, make_tables
from vflc.syntax.tokens import scan

# Not all of the repository: the editor's tests copy specs into it while others collect.
FOLDERS = (Path(__file__).parents[2] / "specs", Path(__file__).parent)
PATHS = sorted(path for folder in FOLDERS for path in folder.rglob("*.vfl"))
LOADED = Tables.load()


IGNORED: list[lark.Token] = []


class Noting:
    """A builder whose values say what was called with what."""

    def __getattr__(self, name: str) -> Any:
        if not name.islower() or name.startswith("_"):
            raise AttributeError(name)
        return lambda parts: (name, *parts)


LARK = lark.Lark(
    grammar(),
    **OPTIONS,
    transformer=Noting(),
    lexer_callbacks=dict.fromkeys(("COMMENT", "OPEN_STRING", "STRAY"), lambda t: IGNORED.append(t) or t),
)


def test_the_tables_are_made_of_the_grammar() -> None:
    saved = resources.files("vflc_grammars").joinpath(TABLES).read_text(encoding="utf-8")
    assert saved == make_tables(grammar()), "run: python -m vflc.syntax.tables"


def lexed(text: str) -> list[tuple[str, str, int, int]]:
    """As lark cuts a text, but for space."""
    IGNORED.clear()
    lexer: Any = LARK.parse_interactive(text).lexer_thread
    found = [*lexer.lex(None), *IGNORED]
    return sorted((t.type, t.value, t.start_pos, t.end_pos) for t in found)


@given(st.text(st.sampled_from("ab1_.-*/<=>!'\"\\#@ \n\té²٣"), max_size=40) | st.text(max_size=20))
def test_any_text_is_cut_as_lark_does(text: str) -> None:
    kept, ignored = Lexer(LOADED).lex(text)
    assert sorted((t.type, t.value, t.start_pos, t.end_pos) for t in [*kept, *ignored]) == lexed(text)


def stopped(take: Any, tokens: list[Token]) -> int:
    """At which token a parser stops, or how many there are."""
    return next((index for index, token in enumerate(tokens) if not take(token)), len(tokens))


def both(tokens: list[Token]) -> tuple[int, Any, int, Any]:
    """How far tokens get, and what was built of them: here, and by lark."""
    parser = Parser(LOADED, Parser.methods_of(LOADED, Noting()))
    there: Any = LARK.parse_interactive("")
    built: list[Any] = []

    def take(token: Token) -> bool:
        try:
            built[:] = [there.feed_token(token)]
        except lark.UnexpectedToken:
            return False
        return True

    here, others = stopped(parser.take, tokens), stopped(take, tokens)
    whole = here == len(tokens) and tokens[-1].type == END
    return here, parser.values if whole else None, others, built if whole else None


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_text_is_parsed_as_lark_does(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    source = SourceText("spec.vfl", text)
    tokens = scan(source, *Lexer(LOADED).lex(text), DiagnosticCollector()).tokens
    here, made, there, wanted = both([*tokens, Token(END, "")])
    assert (here, made) == (there, wanted)


@given(st.data())
def test_any_tokens_are_parsed_as_lark_does(data: st.DataObject) -> None:
    """Tokens of which most fit where they stand."""
    stack, tokens = [LOADED.start], list[Token]()
    types = sorted(
        set(LOADED.words.values()) | {type for row in LOADED.states for type in row if type.isupper()}
    )
    for _ in range(data.draw(st.integers(1, 60))):
        fitting = sorted(LOADED.expected(stack))
        type = data.draw(st.sampled_from(fitting if data.draw(st.integers(0, 19)) else types))
        tokens.append(Token(type, type.lower()))
        if not LOADED.advance(stack, type) or type == END:
            break
    here, made, there, wanted = both(tokens)
    assert (here, made) == (there, wanted)
    assert here == len(tokens) or not LOADED.accepts(stack, tokens[here].type)


def test_every_rule_has_a_method_of_the_builder() -> None:
    assert len(Parser.methods_of(LOADED, Builder())) == len(LOADED.rules)
