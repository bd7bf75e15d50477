"""What parses, into which tree, and with which places."""

from __future__ import annotations

import logging
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from lark import Lark
from msgspec import Struct
from snapshot import same_as

from vflc.diagnostics import DiagnosticCollector, SourceText, Span
from vflc.syntax import tree
from vflc.syntax.parser import parse
from vflc.syntax.show import show, show_expression
from vflc.syntax.tokens import KEYWORDS

STATEMENTS_AND_COLUMNS = sorted({"gradients", *(word for words in KEYWORDS.values() for word in words)})
HERE = Path(__file__).parent
GOOD = sorted((HERE / "good").glob("*.vfl"))


def parsed(text: str) -> tree.Spec:
    collector = DiagnosticCollector()
    spec = parse(SourceText("x.vfl", text), collector)
    assert collector.diagnostics == []
    return spec


def value(text: str) -> tree.Expr:
    [item] = parsed(f"x = {text}").items
    assert isinstance(item, tree.Binding)
    return item.value


def spans(node: Any, above: Span) -> None:
    """Every part lies in the whole that it is part of."""
    if isinstance(node, tuple):
        for part in node:
            spans(part, above)
    elif isinstance(node, Struct) and not isinstance(node, Span):
        own: Span = node.span  # type: ignore[attr-defined]
        assert above.start <= own.start <= own.end <= above.end
        for name in node.__struct_fields__:
            spans(getattr(node, name), own)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_example(path: Path) -> None:
    spec = parsed(path.read_text(encoding="utf-8"))
    assert spec.poisoned == frozenset()
    for item in spec.items:
        spans(item, spec.span)
    same_as(path.with_suffix(".tree.txt"), show(spec, places=True))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1 + 2 * 3 - 4", "(- (+ 1 (* 2 3)) 4)"),
        ("-2 ** 2", "(- (** 2 2))"),
        ("2 ** -3 ** 2", "(** 2 (- (** 3 2)))"),
        ("a or b and not c < d", "(or a (and b (not (< c d))))"),
        ("a // b / c % d @ e", "(@ (% (/ (// a b) c) d) e)"),
        ("-a.b(1)[2].c", "(- (. (index (call (. a b) 1) 2) c))"),
        ("f(0..20)", "(call f (.. 0 20))"),
        ("[1..3, n-1..n+1]", "[(.. 1 3) (.. (- n 1) (+ n 1))]"),
        ("x[1..3]", "(index x (.. 1 3))"),
        ("p.C{8..26} + C{1..1}", "(+ (family p C 8 26) (family C 1 1))"),
        ("[f(i) for i in xs if i > 1 and i != 3]", "(each (call f i) for i in xs if (and (> i 1) (!= i 3)))"),
        ("{a = 1, b = {c = 2,},}", "{a=1 b={c=2}}"),
        ("f(x, axis = field,)", "(call f x axis=field)"),
        ("1_000 + 1e-3 + 3.5e-4 + 0.5", "(+ (+ (+ 1000 0.001) 0.00035) 0.5)"),
        (r'"a\"b\n\u{41}" ', r"""'a"b\nA'"""),
        (r"'it\'s'", '"it\'s"'),
        ("[true, false, []]", "[True False []]"),
        ("((a))", "a"),
    ],
)
def test_expression(text: str, shown: str) -> None:
    assert show_expression(value(text)) == shown


@pytest.mark.parametrize(
    "word",
    [*STATEMENTS_AND_COLUMNS, "at", "on", "to", "with", "because", "for", "in", "if", "field", "batch"],
)
def test_keywords_are_names_where_no_statement_starts(word: str) -> None:
    spec = parsed(
        f"""
        party p {{ key {word} feature {word}: string feature other: int label l = p.{word} > 1 }}
        {word} = 1
        x = p.{word} + f({word} = 2, axis = 1)
        y = {{{word} = 3}}
        fuse at p {{ {word} = 4 z = x.{word} }}
        predict {word} = x
        """
    )
    assert len(spec.items) == 6
    [party] = [item for item in spec.items if isinstance(item, tree.Party)]
    assert (party.key[0].text, party.columns[0].name.text) == (word, word)


@pytest.mark.parametrize(
    "word", ["key", "label", "batch", "train", "party", "objective", "release", "to", "field"]
)
def test_keywords_are_values_too(word: str) -> None:
    assert show_expression(value(f"sum({word}, axis = {word}) * {word}")).count(word) == 3


def test_line_ends_mean_nothing() -> None:
    text = (HERE / "good" / "deepfm.vfl").read_text(encoding="utf-8")
    lines = [line.split("#")[0].rstrip() for line in text.splitlines()]
    assert show(parsed(" ".join(lines))) == show(parsed(text))
    assert show(parsed("\r\n".join(lines))) == show(parsed(text))


def test_spans_are_exact() -> None:
    text = "y = 2 * (a + b.c) ** 2  # no\n"
    [item] = parsed(text).items
    assert isinstance(item, tree.Binding) and isinstance(item.value, tree.Binary)
    power = item.value.right
    assert isinstance(power, tree.Binary) and isinstance(power.left, tree.Binary)
    assert item.span.text == "y = 2 * (a + b.c) ** 2"
    assert [node.span.text for node in (power, power.left, power.left.right)] == [
        "(a + b.c) ** 2",
        "(a + b.c)",
        "b.c",
    ]


def test_comments_are_kept_with_their_places() -> None:
    spec = parsed('# one\nx = "# not"  # two\n')
    assert [(c.text, c.own_line, c.span.start) for c in spec.comments] == [
        ("# one", True, 0),
        ("# two", False, 19),
    ]


def test_an_empty_text_is_an_empty_spec() -> None:
    for text in ("", "\n\n", "# nothing", " \t "):
        assert parsed(text).items == ()


def test_the_grammar_has_no_conflicts(caplog: pytest.LogCaptureFixture) -> None:
    """lark resolves a conflict by shifting and says so only when asked."""
    grammar = resources.files("vflc_grammars").joinpath("vfl.lark").read_text(encoding="utf-8")
    with caplog.at_level(logging.DEBUG, logger="lark"):
        Lark(grammar, parser="lalr", lexer="basic", debug=True, keep_all_tokens=True)
    assert not [message for message in caplog.messages if "onflict" in message]
