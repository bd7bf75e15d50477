"""Text of a spec never hides or adds anything, in the spec itself, in the manifest, or on a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vflc.diagnostics import SourceText
from vflc.driver import check_source, compile_source
from vflc.emit.manifest.text import plain

SPEC = """
party alice {
  key ID
  feature Age: float
}
party bob {
  key ID
  column Rating: int
  label  liked = Rating > 3
}
h     = dense(alice.Age, 8)
logit = dense(concat(h, alice.Age), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
accept VFL0302 on alice.Age because "REASON it is agreed upon"
release alice { to bob: Age }
release bob { to alice: liked }
"""


def errors(text: str) -> list[tuple[str, str]]:
    found = check_source(SourceText("spec.vfl", text))
    return [(d.code, d.span.text if d.span else "") for d in found if d.level == "error"]


@pytest.mark.parametrize("reason", ["<!-- ", "a | b", "`x", "[x](y)", "</td><script>", "# x", "a & b", "**x"])
def test_a_reason_adds_nothing_to_the_manifest(reason: str) -> None:
    page = (
        compile_source(SourceText("spec.vfl", SPEC.replace("REASON", reason))).files["manifest.md"].decode()
    )
    (line,) = [line for line in page.splitlines() if "because:" in line]
    for special in "<|`[#&*":
        bare = line.replace(f"\\{special}", "").partition("because:")[2]
        assert special not in bare
    for heading in ("## Who may learn what", "## Waived", "## Messages", "## Control messages"):
        assert heading in page.splitlines()


@given(st.text())
def test_escaped_text_is_one_line_of_printable_characters(text: str) -> None:
    assert plain(text).isprintable()


@pytest.mark.parametrize(
    "char",
    [
        "\u3164",
        "\u115f",
        "\uffa0",
        "\u034f",
        "\ufe0f",
        "\u180b",
        "\u2800",
        "\U000e0101",
        "\u202e",
        "\u200f",
        "\u061c",
        "\u200b",
        "\u2066",
        "\x1b",
        "\x00",
        "\x85",
        "\u2028",
    ],
)
@pytest.mark.parametrize("where", ['because "REASON', "dense(alice", "# a comment"])
def test_what_nobody_sees_is_refused_everywhere(char: str, where: str) -> None:
    text = SPEC.replace("# a comment", "") + "# a comment\n"
    text = text.replace(where, f"{where}{char}")
    assert ("VFL0004", char) in errors(text)


def test_letters_and_signs_of_all_languages_are_text() -> None:
    text = SPEC.replace("REASON", "vereinbart am 3. März: Verträge 合同 Δ ≥ 1 שלום").replace("Age", "Größe")
    assert not errors(text)


@pytest.mark.parametrize(
    ("names", "marked"),
    [
        (("Age", "Аge"), "Аge"),
        (("Age", "\u0410\u0261e"), "\u0410\u0261e"),
        (("x", "х"), "х"),
        (("Ｘ1", "X1"), "X1"),
    ],
)
def test_names_that_look_alike(names: tuple[str, str], marked: str) -> None:
    text = SPEC.replace("feature Age: float", "\n  ".join(f"feature {name}: float" for name in names))
    text = text.replace("alice.Age", f"alice.{names[0]}")
    assert ("VFL0026", marked) in errors(text)


def test_names_of_one_alphabet_are_names() -> None:
    text = SPEC.replace("Age", "Возраст").replace("liked", "άρεσε").replace("Rating", "評価")
    assert not errors(text)
