"""Every code that can be mended without thinking has a fix, which mends the example on the code's page."""

import re
from collections import Counter
from pathlib import Path

import pytest

from vflc.diagnostics import Diagnostic
from vflc.diagnostics.codes import CODES
from vflc.diagnostics.explain import explain
from vflc.lsp.analysis import Document
from vflc.lsp.cures import CURES
from vflc.lsp.mending import UNGRANTED, quick_fixes
from vflc.lsp.positions import applied

SPEC = (Path(__file__).parents[2] / "specs" / "deepfm" / "deepfm.vfl").read_text("utf-8")
MEANT = ("VFL0101", "VFL0105", "VFL0106", "VFL0107", "VFL0108", "VFL0330", "VFL0332")
"""Codes whose help tells the word that was meant."""
MECHANICAL = tuple(sorted({*CURES, *MEANT, UNGRANTED}))


def broken(code: str) -> list[Document]:
    found = re.findall(r"^```vfl bad\n(.*?)^```", explain(code), re.MULTILINE | re.DOTALL)
    return [Document(text, Path("/specs/spec.vfl")) for text in found]


def counted(found: list[Diagnostic]) -> Counter[tuple[str, str]]:
    return Counter((each.code, each.message) for each in found)


@pytest.mark.parametrize("code", MECHANICAL)
def test_a_fix_mends_the_example_of_its_page(code: str) -> None:
    mended = 0
    for document in broken(code):
        for fix in quick_fixes(document, 0, len(document.text)):
            after = document.again(applied(document.text, list(fix.edits))).diagnostics
            less = counted(document.diagnostics) - counted(after)
            assert any(name == code for name, _ in less), fix.title
            mended += 1
    assert mended


def test_no_other_code_has_a_fix_in_its_example() -> None:
    """A fix that appears by chance is to be looked at: then its code is named."""
    others = sorted(set(CODES) - set(MECHANICAL))
    found = [code for code in others for each in broken(code) if quick_fixes(each, 0, len(each.text))]
    assert found == []


def test_every_cure_is_of_a_code() -> None:
    assert set(CURES) <= set(CODES)


@pytest.mark.parametrize(
    ("wrong", "title", "right"),
    [
        ("h = dense(alice.Age, [8)", "Add `]`", "h = dense(alice.Age, [8])"),
        ("h = dense(alice.Age, 8))", "Remove it", "h = dense(alice.Age, 8)"),
        ("h = dense(alice.Age, 8);", "Remove it", "h = dense(alice.Age, 8)"),
        ('feature Sex: string -> vocab("F", "M)', "End the string", '-> vocab("F", "M")'),
        ("h = dense(8, x = alice.Age, 8)", "Move it to the front", "h = dense(8, 8, x = alice.Age)"),
        ("h = dense(alice.Age, units = 8, units = 9)", "Remove the second one", "(alice.Age, units = 8)"),
    ],
    ids=["bracket", "bracket too many", "semicolon", "string", "argument", "twice"],
)
def test_slips_of_the_keyboard(wrong: str, title: str, right: str) -> None:
    text = f"party alice {{\n  key ID\n  {wrong}\n}}\n" if "feature" in wrong else f"{wrong}\n"
    fixes = [fix for fix in quick_fixes(Document(text), 0, len(text)) if fix.title == title]
    assert any(right in applied(text, list(fix.edits)) for fix in fixes)


def test_a_label_that_is_not_granted_can_be_protected() -> None:
    """The mechanism and the grant of its ε together: neither alone would do."""
    document = Document(SPEC.replace("to alice: MovieID, Genres, liked", "to alice: MovieID, Genres"))
    assert [each.code for each in document.diagnostics] == [UNGRANTED]
    fixes = quick_fixes(document, 0, len(document.text))
    assert [fix.code for fix in fixes] == [UNGRANTED, None]
    mended = applied(document.text, list(fixes[0].edits))
    assert "protect bob.liked with label_dp(epsilon = 4)" in mended
    assert "liked at most epsilon 4" in mended
    assert not document.again(mended).examined.refused


def test_a_vocabulary_gets_a_default_where_one_asks_for_it() -> None:
    text = 'party alice {\n  key ID\n  feature Sex: string -> vocab("F", "M")\n}\n'
    at = text.index('"F"')
    (offered,) = quick_fixes(Document(text), at, at)
    assert not offered.mends
    assert '-> vocab("F", "M", default = other)\n' in applied(text, list(offered.edits))
    assert quick_fixes(Document(text), 0, 0) == []
    mended = applied(text, list(offered.edits))
    assert quick_fixes(Document(mended), at, at) == []
