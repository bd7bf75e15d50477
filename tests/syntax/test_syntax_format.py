"""Formatting: one way of writing, nothing lost, nothing changed the second time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshot import same_as

from vflc.diagnostics import DiagnosticCollector, Refused, SourceText
from vflc.syntax.format import format_spec
from vflc.syntax.layout import WIDTH
from vflc.syntax.parser import parse
from vflc.syntax.show import show

HERE = Path(__file__).parent
GOOD = sorted((HERE / "good").glob("*.vfl"))


def content(text: str) -> tuple[str, list[str]]:
    """Everything in a text but its layout. Comments may move, so their order is not part of it."""
    spec = parse(SourceText("x", text), collector := DiagnosticCollector())
    assert collector.diagnostics == []
    return show(spec), sorted(comment.text for comment in spec.comments)


def check(text: str) -> str:
    formatted = format_spec(text)
    assert content(formatted) == content(text)
    assert format_spec(formatted) == formatted
    assert not any(line != line.rstrip() for line in formatted.split("\n"))
    return formatted


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_formatted_example(path: Path) -> None:
    same_as(path.with_suffix(".formatted.txt"), check(path.read_text(encoding="utf-8")))


def test_what_is_canonical_stays() -> None:
    text = (HERE / "good" / "mmoe.vfl").read_text(encoding="utf-8")
    assert format_spec(text) == text


def test_a_spec_that_does_not_parse_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        format_spec("x = (1")
    assert [d.code for d in refused.value.diagnostics] == ["VFL0002"]


def test_long_lines_are_broken() -> None:
    values = ", ".join(f'"{n}"' for n in range(60))
    terms = " + ".join(f"0.5 * bce(logit_{n}, bob.label_{n})" for n in range(8))
    units = ", ".join(f"argument_{n} = [{n}, {n}]" for n in range(12))
    text = f"party p {{ feature a: string -> split(' ') -> vocab({values}) }}\n"
    text += f"objective {terms}\nx = f({units})\ny = -({terms}).a[{units and 1}]\n"
    assert max(map(len, check(text).splitlines())) <= WIDTH


NAMES = st.sampled_from(["a", "bc", "field", "label", "x_1", "Größe"])
LITERALS = st.one_of(
    st.integers(0, 2000).map(str),
    st.sampled_from(["1e-3", "0.5", "true", '"a b"', "'\\''", "1_000"]),
    NAMES,
)


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "**", "and", "or", "@", "//", " "])
    some = st.lists(inner, max_size=4)
    gap = st.sampled_from(["", " ", "\n", "\n\n", " # note\n", "\n# own\n"])
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda t: f"({t[0]}) {t[1].strip() or '<'} ({t[2]})"),
        st.tuples(NAMES, operators, inner, gap).map(lambda t: f"{t[0]} {t[1].strip() or '+'}{t[3]} ({t[2]})"),
        inner.map(lambda v: f"-({v})"),
        inner.map(lambda v: f"not ({v})"),
        inner.map(lambda v: f"({v}).a"),
        inner.map(lambda v: f"({v})[0]"),
        st.tuples(inner, inner).map(lambda t: f"[({t[0]})..({t[1]})]"),
        st.tuples(some, gap, gap).map(lambda t: f"[{t[1]}{f',{t[2]}'.join(t[0])}{t[1]}]"),
        st.tuples(NAMES, some, gap, gap).map(lambda t: f"{t[0]}({t[2]}{f',{t[3]}'.join(t[1])})"),
        st.tuples(inner, NAMES, inner, gap).map(lambda t: f"[{t[3]}{t[0]} for {t[1]} in {t[2]}{t[3]}]"),
        st.tuples(inner, inner, gap).map(lambda t: f"{{{t[2]}a = {t[0]},{t[2]} long_name = {t[1]}{t[2]}}}"),
    )


EXPRESSIONS = st.recursive(LITERALS, nested, max_leaves=12)
GAPS = st.sampled_from(["\n", "\n\n\n", "  # note\n", "\n  # own line\n\n"])
STATEMENTS = st.one_of(
    st.tuples(NAMES, EXPRESSIONS).map(lambda t: f"{t[0]} = {t[1]}"),
    st.tuples(EXPRESSIONS).map(lambda t: f"objective {t[0]}"),
    st.tuples(NAMES, EXPRESSIONS).map(lambda t: f"global {t[0]} = {t[1]} at hub"),
    st.tuples(EXPRESSIONS, GAPS).map(lambda t: f"fuse at p {{{t[1]}a = {t[0]}{t[1]} b = 1 }}"),
    st.tuples(EXPRESSIONS, GAPS).map(lambda t: f"block B(a, b = {t[0]}) {{ return{t[1]} a {t[1]} }}"),
    st.tuples(EXPRESSIONS, GAPS).map(
        lambda t: f"train {{ lr {t[0]}{t[1]} batch 1 metrics a, b for *.a{t[1]} }}"
    ),
    st.tuples(EXPRESSIONS, GAPS).map(
        lambda t: f"party p {{{t[1]} key k{t[1]} feature a: int -> f({t[0]}){t[1]} label b = {t[0]} -> g }}"
    ),
)


@settings(max_examples=75, deadline=None)
@given(st.lists(st.tuples(STATEMENTS, GAPS), max_size=5))
def test_any_spec(statements: list[tuple[str, str]]) -> None:
    check("".join(statement + gap for statement, gap in statements))
