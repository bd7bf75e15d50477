"""Mistakes: what is said, where, how often; and that nothing else ever happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshot import same_as

from vflc.diagnostics import (
    Diagnostic,
    DiagnosticCollector,
    Refused,
    SourceText,
    render_json,
    render_sarif,
    render_text,
)
from vflc.diagnostics.diagnostic import MOST_ERRORS
from vflc.syntax import tree
from vflc.syntax.expressions import MAX_DEPTH
from vflc.syntax.format import format_spec
from vflc.syntax.parser import MAX_CHARACTERS, MAX_ERRORS, parse, read_source
from vflc.syntax.show import show

HERE = Path(__file__).parent
BAD = sorted((HERE / "bad").glob("*.vfl"))
GOOD = [path.read_text(encoding="utf-8") for path in sorted((HERE / "good").glob("*.vfl"))]


def mistakes(text: str) -> tuple[tree.Spec, list[Diagnostic]]:
    collector = DiagnosticCollector()
    return parse(SourceText("x.vfl", text), collector), collector.diagnostics


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_example(path: Path) -> None:
    collector = DiagnosticCollector()
    spec = parse(SourceText(path.name, path.read_text(encoding="utf-8")), collector)
    rendered = render_text.render(collector.diagnostics)
    same_as(path.with_suffix(".txt"), f"{rendered}\n\n--- what is left\n{show(spec)}")


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("x = 1 +", "VFL0005", "+"),
        ("x =", "VFL0005", "="),
        ("party", "VFL0005", "party"),
        ("x = 1 +\ny = 2", "VFL0001", "+"),
        ("x = 1 2", "VFL0001", "2"),
        ("x = a b", "VFL0001", "b"),
        ("x = (1 + 2", "VFL0002", ""),
        ("x = 1)", "VFL0002", ")"),
        ("party p {\n  key k\n\nx = 1\n", "VFL0002", "{"),
        ("x = 'abc", "VFL0003", "'"),
        ("x = 1 ; y = 2", "VFL0004", ";"),
        ("x = \u202e1", "VFL0004", "\u202e"),
        ("x = 12ab", "VFL0009", "12ab"),
        ("x = 1e999", "VFL0009", "1e999"),
        ("x = 3.41e38", "VFL0009", "3.41e38"),
        ("x = " + "9" * 5000, "VFL0009", "9" * 5000),
        (r"x = 'a\q'", "VFL0010", r"\q"),
        (r"x = '\u{110000}'", "VFL0010", r"\u{110000}"),
        ("x = f(a = 1, 2)", "VFL0011", "2"),
        ('party p { key "" }', "VFL0018", '""'),
        ('party p { key k feature "Unit price": int }', "VFL0018", '"Unit price"'),
        ('party p { key k feature "Price": int feature "1st": int }', "VFL0018", '"1st"'),
        ('party p { key k feature "Price" = 1 }', "VFL0019", '"Price"'),
        ("party p { key k feature C{1..3}: int as D }", "VFL0019", "as D"),
        ('party p { key k feature "C"{1..3}: int }', "VFL0001", "{"),
        ('party p { key k feature "C": int as }', "VFL0001", "}"),
        ("party p { key k feature C as D: int }", "VFL0001", "as"),
        ('party p { key k feature "a\\q": int as b }', "VFL0010", "\\q"),
        ("x = f(a = 1, a = 2)", "VFL0012", "a"),
        ("x = {a = 1, a = 2}", "VFL0012", "a"),
        ("party p { feature C{3..1}: int }", "VFL0013", "{3..1}"),
        ("party p { feature C{1.5..2}: int }", "VFL0013", "{1.5..2}"),
        ("x = p.C{1..1000000000}", "VFL0013", "{1..1000000000}"),
        ("block B() { x = 1 }", "VFL0014", "B"),
        ("block B() { return 1 return 2 }", "VFL0014", "return 2"),
        ("party p { key a key b }", "VFL0015", "key b"),
        ("train { batch = 5 }", "VFL0001", "="),
        ("x = a < b < c", "VFL0001", "<"),
    ],
)
def test_one_mistake(text: str, code: str, place: str) -> None:
    _, found = mistakes(text)
    assert [(d.code, d.span.text if d.span else None) for d in found] == [(code, place)]
    assert found[0].help


def test_unclosed_brackets_point_at_where_they_open() -> None:
    _, [found] = mistakes("x = f(1, 2\n")
    assert found.span and found.span.start == len("x = f(1, 2")
    assert [(label.span.text, label.span.start) for label in found.labels] == [("(", 5)]


def test_each_mistake_is_reported_and_the_rest_is_kept() -> None:
    spec, found = mistakes(
        """
        a = 1 +
        b = 2
        party p { key k  featur x: int
          feature y: int
          feature z: int -> -> hash(1)
        }
        c = f(1, 2
        fuse at p { d = 3
          e = ]4 5 }
        predict q = b
        """
    )
    assert len(found) == 5
    assert {d.span.line for d in found if d.span} == {2, 4, 6, 8, 10}
    shown = show(spec)
    assert all(text in shown for text in ("b = 2", "feature y", "d = 3", "predict q"))
    assert {"a", "x", "z", "c", "e"} <= spec.poisoned
    assert not {"b", "y", "d", "p"} & spec.poisoned


@pytest.mark.parametrize(
    ("column", "help"),
    [
        ("feature PT08.S1(CO): float", 'feature "PT08.S1(CO)": … as PT08_S1_CO'),
        ("feature Unit price: float", 'feature "Unit price": … as Unit_price'),
        ("label bought-again = x", 'label "bought-again": … as bought_again'),
        ("column 1 st: int", 'column "1 st": … as c_1_st'),
        ("key User ID", 'key "User ID"'),
        ("key shop.id  # the till's", 'key "shop.id"'),
        ("feature Age int", "feature Age: int -> standardize"),
        ("key A, User ID", "key COLUMN, COLUMN"),
        ("key A  rows per kee many", "rows per key one"),
        ("key A  rows many", "rows per key one"),
        ("key A  rows per key lots", "or `rows per key many`"),
        ("key A  missing rows allowed", "missing party allowed"),
    ],
)
def test_a_name_of_several_words_is_shown_in_quotes(column: str, help: str) -> None:
    _, found = mistakes(f"party p {{\n  {column}\n  feature b: int\n}}\n")
    assert found[0].code == "VFL0001" and found[0].help and help in found[0].help, found


def test_poison_covers_what_a_bad_statement_would_have_bound() -> None:
    spec, _ = mistakes("use lib.{A, B C}\nparty p { feature C{1..3}: int int -> }\nblock X(a { return a }\n")
    assert {"A", "B", "C1", "C3"} <= spec.poisoned


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 50_000 + "1" + ")" * 50_000,
        "x = " + "(" * 50_000,
        "x = " + "[" * 5_000 + "]" * 5_000,
        "x = " + "{a = " * 5_000,
        "x = " + "-" * 50_000 + "1",
        "x = " + "not " * 50_000 + "a",
        "x = " + "1 + " * 50_000 + "1",
        "x = " + "2 ** " * 50_000 + "1",
        "x = a" + ".b" * 50_000,
        "x = a" + "(1)" * 50_000,
        "objective " + "f(" * 3000 + ")" * 3000,
        "{" * 10_000,
        "}" * 10_000,
        "party p {" * 2_000,
    ],
    ids=lambda text: text[4:14],
)
def test_nesting_is_a_finding(text: str) -> None:
    spec, found = mistakes(text)
    assert 0 < len(found) <= MOST_ERRORS + 1
    assert not show(spec).count("x =")
    render_text.render(found[:50])


def test_what_is_deep_but_not_too_deep_can_be_walked() -> None:
    depth = MAX_DEPTH - 2
    for text in ("x = " + "f(" * (depth // 2) + "1" + ")" * (depth // 2), "x = 1" + " + 1" * depth):
        spec, found = mistakes(text)
        assert not found and show(spec)
        assert format_spec(format_spec(text)) == format_spec(text)


def test_errors_are_bounded() -> None:
    _, found = mistakes("x = 1 2\n" * 500)
    assert len(found) == MAX_ERRORS


def test_files_that_are_no_text(tmp_path: Path) -> None:
    def code(path: Path) -> str:
        with pytest.raises(Refused) as refused:
            read_source(path)
        [diagnostic] = refused.value.diagnostics
        assert render_text.render([diagnostic])
        return diagnostic.code

    (tmp_path / "latin").write_bytes("x = 1\n# Größe\ny = 2".encode("latin-1"))
    (tmp_path / "large").write_bytes(b" " * (4 * MAX_CHARACTERS + 1))
    assert code(tmp_path / "latin") == "VFL0007"
    assert code(tmp_path / "large") == "VFL0008"
    assert code(tmp_path) == "VFL0016"
    assert code(tmp_path / "absent") == "VFL0016"
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbfx = 1")
    assert read_source(tmp_path / "bom").text == "x = 1"
    assert [d.code for d in mistakes(" " * (MAX_CHARACTERS + 1))[1]] == ["VFL0008"]


PIECES = st.one_of(
    st.sampled_from(list("(){}[],.:=+-*/<>\"'#\\\n;&0 ")),
    st.sampled_from(
        [
            "->",
            "..",
            "**",
            "party p {",
            "feature",
            "at",
            "for",
            "return ",
            "x = ",
            "train {",
            "}\n",
            "1..",
            "C{",
        ]
    ),
    st.text(max_size=3),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.sampled_from([0, 0, 1, 2, 5, 40]))
        text = text[:at] + draw(PIECES) + text[at + cut :]
    return text


def survives(text: str) -> None:
    spec, found = mistakes(text)
    for diagnostic in found:
        assert diagnostic.span is not None
        assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text)
    for renderer in (render_text, render_json, render_sarif):
        renderer.render(found)
    show(spec, places=True)
    if not found:
        formatted = format_spec(text)
        assert show(parse(SourceText("y", formatted), DiagnosticCollector())) == show(spec)
        assert format_spec(formatted) == formatted


@settings(max_examples=75, deadline=20_000)
@given(mutated())
def test_mutations_give_findings_only(text: str) -> None:
    survives(text)


@settings(max_examples=75, deadline=20_000)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join)))
def test_any_text_gives_findings_only(text: str) -> None:
    survives(text)
