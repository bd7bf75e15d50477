"""Grants of families of columns: named as one, read as one, written as one."""

from __future__ import annotations

import pytest
from learn.test_grants import ALL, SPEC, errors, fixed

from vflc.cli.learned import paragraphs
from vflc.diagnostics import Diagnostic, SourceText
from vflc.driver import check_source, compile_source
from vflc.syntax.format import format_spec

FAMILIES = """
party alice {
  key ID
  feature I{1..4}:  float
  feature C{8..12}: string -> hash(64)
  feature D{1..2}:  string -> hash(64)
  feature Age: float
}
party bob {
  key ID
  label liked: int
}
a = mlp(flatten(embed(alice.features, dim = 4)), [8])
logit = dense(a, 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
release bob { to alice: liked }
"""


def of_families(release: str, spec: str = FAMILIES) -> list[Diagnostic]:
    return [d for d in check_source(SourceText("spec.vfl", spec + release)) if d.level == "error"]


@pytest.mark.parametrize(
    "release",
    [
        "alice { to bob: I{1..4}, C{8..12}, D{1..2}, Age }",
        "alice { to bob: alice.I{1..4}, C{8..10} at most 6 bits, C11, C12, D1, D2, Age }",
        "alice { to bob: I{1..4} in training, I{1..4} in prediction, I{1..4} in evaluation\n"
        " to bob: C{8..12}, Age\n bob knows D{1..2}\n only a }",
    ],
)
def test_a_family_is_granted_by_its_name(release: str) -> None:
    assert not of_families(f"release {release}\n")


@pytest.mark.parametrize(
    ("release", "code", "says", "at"),
    [
        ("alice { to bob: I{1..3}, C{8..12}, D1, Age }", "VFL0340", "I4 and D2 of alice", "alice"),
        ("alice { to bob: I{2..4}, C{8..9}, D{1..2}, Age }", "VFL0340", "I1 and C{10..12} of", "alice"),
        ("alice { to bob: I{1..4}, C{8..12} at most 5 bits, D1, D2, Age }", "VFL0340",
         "the code of alice.C{8..12} (6 bits a row), which is", "C{8..12} at most 5 bits"),
        ("alice { to bob: I{0..4}, C{8..12}, D1, D2, Age }", "VFL0105", "`I0`", "I{0..4}"),
        ("alice { to bob: I{1..9999}, C{8..12}, D1, D2, Age }", "VFL0105", "`I5`", "I{1..9999}"),
        ("alice { to bob: I{4..1}, C{8..12}, D1, D2, Age }", "VFL0013", "down to 1", "{4..1}"),
        ("alice { never to bob: C{8..9}\n to bob: I{1..4}, C{10..12}, D1, D2, Age }", "VFL0305",
         "alice.C{8..9} reaches bob", "never to bob: C{8..9}"),
        ("alice { only a.C{8..9}\n to bob: I{1..4}, C{8..12}, D1, D2, Age }", "VFL0305",
         "`a.C8` is not an edge", "only a.C{8..9}"),
    ],
)  # fmt: skip
def test_what_a_family_lacks_is_said_at_its_place(release: str, code: str, says: str, at: str) -> None:
    found = of_families(f"release {release}\n")
    assert found and found[0].code == code and found[0].span is not None
    assert says in found[0].message
    assert found[0].span.text == at


def test_what_a_receiver_has_anyway_stands_in_the_table() -> None:
    spec = SPEC + ALL["alice"] + "release bob { alice knows liked\n to alice: Item }\n"
    bundle = compile_source(SourceText("spec.vfl", spec))
    held = {(row.receiver, row.column): row.held for row in bundle.model.disclosed.learned if row.held}
    assert held == {("alice", "Stars"): ("liked",)}, "the column that the label is made of, by the label"
    page = bundle.files["manifest.md"].decode()
    assert "| alice | bob.Stars | its code (1 bit a row); has liked anyway |" in page
    assert "- bob.liked to alice, who has it anyway" in page
    assert "Stars (1 bit; has liked anyway)" in paragraphs(bundle.model.disclosed.learned)


def test_grants_are_written_as_the_rest_of_the_text_is() -> None:
    windows = fixed(SPEC.replace("\n", "\r\n") + "release bob { to alice: liked }\r\n")
    assert windows.count("\n") == windows.count("\r\n")
    text = fixed(SPEC + "release bob { to alice: liked   }  # as agreed\n")
    assert "{ to alice: liked\n  # at most the code of these" in text and "\n}  # as agreed\n" in text
    text = fixed(SPEC + "release bob {\n  to alice: liked  # the label\n}")
    assert "  to alice: liked  # the label\n  # at most the code of these" in text


def test_phases_that_a_grant_lacks_are_said_and_written() -> None:
    (found,) = errors("release bob { to alice: Item, liked in prediction }\n")
    assert found.message.startswith("alice may learn the code of bob.liked (1 bit a row) in training, which")
    text = fixed(
        SPEC
        + ALL["alice"]
        + "release bob { to alice: Item in prediction, liked in training at most 1 bit }\n"
    )
    assert "  to alice: Item in training" in text
    assert not [d for d in check_source(SourceText("spec.vfl", text)) if d.level == "error"]


def test_one_finding_for_a_family_and_grants_of_two_phases_are_two() -> None:
    rest = "I{1..4}, D1, D2, Age"
    (found,) = of_families(f"release alice {{ to alice: C{{8..12}}\n to bob: C{{8..12}}, {rest} }}")
    assert (found.code, found.span and found.span.text) == ("VFL0341", "C{8..12}")
    (found,) = of_families(f"release alice {{ to bob: C{{8..12}}, C{{10..11}}, {rest} }}")
    assert found.code == "VFL0343" and "alice.C10" in found.message
    (found,) = of_families(f"release alice {{ to bob: C, {rest} }}")
    assert found.help == "did you mean `C{8..12}`?"


def test_families_are_written_as_families() -> None:
    text = fixed(FAMILIES + "release alice { to bob: C10 at most 6 bits }")
    assert "  to bob: I{1..4}, Age\n" in text
    assert "  to bob: C{8..9}, C{11..12}, D{1..2}\n" in text
    assert not of_families("", text)
    shown = format_spec(text)
    assert format_spec(shown) == shown and "C{11..12}" in shown


def test_a_population_grants_families() -> None:
    spec = """
population users {
  key UserID
  feature A{1..3}: float
  feature Item: int -> index(64)
  label   stars: float
}
party hub {}
global items = table(64, 4) at hub
global w = weight(4) at hub
score = dot(lookup(items, users.Item), w) * sum(concat(users.A{1..3}))
predict stars = score
objective mse(score, users.stars)
train reconstruct { cohort 10 }
"""
    text = fixed(spec)
    assert "to hub, users: A{1..3}, stars\n" in text
    assert not of_families("", text)
    refused = of_families("release users { to hub, users: A{1..2}, Item, stars }", spec)
    assert [d.message.partition(",")[0] for d in refused] == [
        "hub may learn all of users.A3",
        "other users may learn all of users.A3",
    ]


def test_names_of_a_family_are_its_members_whatever_its_digits() -> None:
    for family in ("C1{9..12}", "C0{1..2}"):
        spec = FAMILIES.replace("D{1..2}", family)
        text = fixed(spec.replace("C{8..12}", "X"))
        assert f"to bob: X, {family}\n" in text
        assert not of_families("", text)
