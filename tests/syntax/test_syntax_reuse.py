"""A text parsed again beside its version before is the tree that it is alone."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.syntax import parser, tree
from vflc.syntax.builder import Builder
from vflc.syntax.parser import parse_again
from vflc.syntax.reuse import ParsedText

ROOT = Path(__file__).parents[2]
SPECS = [path.read_text("utf-8") for path in sorted(ROOT.glob("specs/*/*.vfl"))]
PIECES = [
    "x", "alice", ".", "{", "}", "(", ")", '"', "\n", "# c", "= ", " at bob", "\n  ", "block B(x) {", " + ",
    ",", "1", "never to bob: Age", "\nx = 1\n", "",
    "feature ", "\n  feature x: int -> hash(9)", " -> hash(", "label y = x > ",
    "\\", "\r", ";", "é", "\"\"", "2x", "Аge", "\u200b",
]  # fmt: skip


def again(text: str, before: ParsedText | None = None) -> ParsedText:
    """The text, parsed beside another version and alone, which must not differ."""
    found, alone = DiagnosticCollector(), DiagnosticCollector()
    source = SourceText("spec.vfl", text)
    parsed, fresh = parse_again(source, found, before), parse_again(source, alone)
    assert parsed.spec == fresh.spec
    assert (found.diagnostics, found.left_out) == (alone.diagnostics, alone.left_out)
    assert places(parsed) == places(fresh)
    return parsed


def places(parsed: ParsedText) -> list[list[tuple[str, str, int, int]]]:
    """Tokens before and after they are classified, and what is none, each where it is."""
    kept, ignored = parsed.lexed or ((), ())
    lists = (kept, ignored, parsed.tokens)
    return [[(each.type, each.value, each.start_pos, each.end_pos) for each in tokens] for tokens in lists]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_edits_one_by_one_give_the_same_tree(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(SPECS))
    before = again(text)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.sampled_from([0, 0, 1, 3, 20])))
        text = text[:start] + data.draw(st.sampled_from(PIECES)) + text[end:]
        before = again(text, before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = a\ny = b\n", "x = a\n  at bob\ny = b\n"),
        ("x = a\nat = b\n", "x = a\nat bob\n"),
        ("x = a\ny = b\n", "x = a +\ny = b\n"),
        ("x = a\ny = b\nz = c\n", "x = a\nz = c\n"),
        ("x = a\nx = a\nx = a\n", "x = a\nx = a\n"),
        ("release alice { to bob: A\n  B\n}\n", "release alice { to bob: A B\n}\n"),
        ("x = a\n", ""),
        ("x = a\ny = b\n", "x = a\nzy = b\n"),
        ("w = a\nx = b\ny = c\n", "w = a\n# x = b\ny = c\n"),
    ],
)
def test_what_goes_on_is_parsed_with_what_it_goes_on_with(before: str, after: str) -> None:
    again(after, again(before))
    again(before, again(after))


COLUMNS = "".join(f"  feature c{i}: int -> hash({i}9) -> vocab(1)\n" for i in range(6))
PARTY = f"party alice {{\n  key ID\n{COLUMNS}  label y = c1 > 3\n}}\nx = alice.c1\n"


@pytest.mark.parametrize(
    "piece",
    [
        "x",
        " ",
        "-> hash(3)",
        "}",
        "{",
        "\n  feature d: int",
        " -> ",
        '"',
        "# c",
        "= 1 + ",
        "as z",
        "5",
        "feature ",
    ],
)
def test_columns_of_a_party_that_changed_are_those_of_the_new_text(piece: str) -> None:
    before = again(PARTY)
    for start in range(len(piece) % 5, len(PARTY), 9):
        again(PARTY[:start] + piece + PARTY[start:], before)
        again(PARTY[:start] + PARTY[start + len(piece) :], before)


def test_lines_that_did_not_change_are_not_read() -> None:
    before, seen = again(PARTY), list[int]()
    lexer = parser._parser().lexer
    matches = lexer.matches
    lexer.matches = lambda text, start, stop: seen.append(stop - start) or matches(text, start, stop)
    try:
        again_ = parse_again(SourceText("a.vfl", PARTY.replace("(39)", "(4)")), DiagnosticCollector(), before)
    finally:
        lexer.matches = matches
    assert again_.lexed is not None and seen == [len("  feature c3: int -> hash(4) -> vocab(1)\n")]


def test_a_text_that_was_too_large_is_read_as_a_whole() -> None:
    again(PARTY, again("# " + "x" * parser.MAX_CHARACTERS))


def test_columns_that_did_not_change_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = again(PARTY), list[tree.Column]()
    column = Builder.column
    monkeypatch.setattr(Builder, "column", lambda *given: seen.append(made := column(*given)) or made)
    made = parser._Parser()
    monkeypatch.setattr(parser, "_parser", lambda: made)
    after = PARTY.replace("hash(39)", "hash(40)")
    parse_again(SourceText("spec.vfl", after), DiagnosticCollector(), before)
    assert [each.name.text for each in seen] == ["c3"]


def test_statements_that_did_not_change_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SPECS[0]
    before = again(text)
    seen: list[int] = []
    moved = parser.moved
    monkeypatch.setattr(parser, "moved", lambda items, *to: seen.append(len(items)) or moved(items, *to))
    after = text.replace("\npredict", "\nmore = 1\npredict", 1)
    assert after != text
    parse_again(SourceText("spec.vfl", after), DiagnosticCollector(), before)
    assert sum(seen) >= len(before.spec.items) - 1
