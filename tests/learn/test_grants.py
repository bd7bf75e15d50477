"""Grants: what they cover, what goes beyond them, and every mistake in writing one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from vflc.cli.main import run
from vflc.diagnostics import Diagnostic, SourceText
from vflc.driver import check_source, compile_source, examine, repaired
from vflc.syntax.format import format_spec

SPEC = """
party alice {
  key ID
  feature Age:    float
  feature City:   string -> hash(64)
  feature Rich = Salary > 1000
  column  Salary: float
}
party bob {
  key ID
  feature Item:  int -> index(16)
  column  Stars: int
  label   liked = Stars > 3
}
party carol {}
a = mlp(flatten(embed([alice.Age, alice.City, alice.Rich], dim = 4)), [16, 6])
b = mlp(embed(bob.Item, dim = 8), [16, 6])
logit = dense(mlp(concat(a, b), [8]), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
"""


ALL = {
    "alice": "release alice { to bob: Age, City, Rich }\n",
    "bob": "release bob { to alice: Item, liked }\n",
}


def errors(more: str) -> list[Diagnostic]:
    """Errors of the spec in which every party without a `release` of its own grants all that is learned."""
    rest = "".join(text for party, text in ALL.items() if f"release {party}" not in more)
    return [d for d in check_source(SourceText("spec.vfl", SPEC + more + rest)) if d.level == "error"]


def fixed(text: str) -> str:
    return repaired(examine(SourceText("spec.vfl", text)))


def test_nothing_is_granted_by_silence() -> None:
    found = [d for d in check_source(SourceText("spec.vfl", SPEC)) if d.level == "error"]
    assert [d.code for d in found] == ["VFL0340", "VFL0340"]
    assert [d.message.partition(",")[0] for d in found] == [
        "bob may learn Age",
        "alice may learn Item and liked of bob",
    ]
    assert all("vflc check --fix" in (d.help or "") for d in found)


@pytest.mark.parametrize(
    "release",
    [
        "alice { to bob: Age, City, Rich }",
        "alice { to bob: Age, City, Salary }",
        "alice { to bob: alice.Age, City at most 6 bits, Rich at most 1 bit }",
        "alice { to bob: Age\n to bob: City, Rich }",
        "alice { to bob, carol: Age, City, Rich }",
        "alice { to bob: Age in training, Age in evaluation, Age in prediction, City, Rich }",
        "alice { to bob: Age, City\n bob knows Rich }",
        "bob { to alice: liked, Item }",
        "bob { to alice: Stars, Item\n never to carol: liked, Item }",
        "bob { to alice: liked in training, Item in training at most 4 bits }",
    ],
)
def test_what_is_granted_compiles(release: str) -> None:
    assert not errors(f"release {release}\n")


@pytest.mark.parametrize(
    ("release", "says"),
    [
        ("alice { to bob: Age }", "bob may learn City and Rich of alice"),
        ("alice { to carol: Age, City, Rich }", "bob may learn Age, City and Rich of alice"),
        ("alice { to bob: Age in training, City, Rich }", "bob may learn all of alice.Age in evaluation and"),
        (
            "alice { to bob: Age, Rich, City at most 5 bits }",
            "bob may learn the code of alice.City (6 bits a row)",
        ),
        ("alice { to bob: Age at most 64 bits, Rich, City }", "bob may learn all of alice.Age"),
        ("bob { to alice: liked }", "alice may learn the code of bob.Item (4 bits a row), which"),
        (
            "bob { to alice: Item, liked at most epsilon 9 }",
            "alice may learn the code of bob.liked (1 bit a row)",
        ),
        ("bob { to alice: Item in prediction, liked }", "alice may learn the code of bob.Item (4 bits"),
        ("bob { to alice: Item, liked\n never to alice: Stars }", "bob.Stars reaches alice"),
    ],
)
def test_what_is_more_than_granted_does_not(release: str, says: str) -> None:
    (found,) = errors(f"release {release}\n")
    assert found.message.startswith(says)
    assert found.help and found.span is not None


def test_an_epsilon_is_granted_as_it_is_spent() -> None:
    protect = "protect bob.liked with label_dp(epsilon = 4)\n"
    assert not errors(protect + "release bob { to alice: Item, liked at most epsilon 4 }\n")
    (found,) = errors(protect + "release bob { to alice: Item, liked at most epsilon 3.9 }\n")
    assert found.code == "VFL0340" and "ε = 4" in found.message


def test_a_label_behind_a_mechanism_is_no_more_than_its_code() -> None:
    protect = "protect bob.liked with label_dp(epsilon = 4)\n"
    assert not errors(protect + "release bob { to alice: Item, liked at most 1 bit }\n")
    (found,) = errors(protect + "release bob { to alice: Item, liked at most 0.5 bits }\n")
    assert found.code == "VFL0340" and "ε = 4" in found.message


def test_a_second_label_made_of_the_same_column_is_not_covered() -> None:
    granted = ALL["bob"] + ALL["alice"]
    text = SPEC.replace("label   liked = Stars > 3", "label   liked = Stars > 3\n  label   best = Stars > 4")
    text += "objective bce(dense(logit, 1), bob.best)\n"
    found = [d for d in check_source(SourceText("spec.vfl", text + granted)) if d.level == "error"]
    assert [d.code for d in found] == ["VFL0340"] and "best" in found[0].message
    assert "liked" not in found[0].message


def test_a_finding_shows_the_column_and_the_value_by_which_it_leaves() -> None:
    (found,) = errors("release alice { to bob: Age }\n")
    declared, crossing = found.labels
    assert declared.span.text.startswith("feature City") and crossing.span.text.startswith("mlp(flatten(")


@pytest.mark.parametrize(
    ("clause", "code", "marked"),
    [
        ("to bop: Age", "VFL0403", "bop"),
        ("to bob: Agee", "VFL0105", "Agee"),
        ("to bob: Item", "VFL0105", "Item"),
        ("to bob Age", "VFL0308", "to bob Age"),
        ("to bob:", "VFL0308", "to bob:"),
        ("to bob: Age at most", "VFL0308", "at most"),
        ("to bob: Age at most epsilon", "VFL0308", "at most epsilon"),
        ("to bob: Age at least 3 bits", "VFL0308", "at least 3 bits"),
        ("to bob: Age in all", "VFL0308", "all"),
        ("never to: Age", "VFL0308", "never to: Age"),
        ("never to bop: Age", "VFL0403", "bop"),
        ("bop knows Age", "VFL0403", "bop"),
        ("bob knows Agee", "VFL0105", "Agee"),
        ("to alice: Age", "VFL0341", "Age"),
        ("alice knows Age, City", "VFL0341", "City"),
        ("never to bob: Age\n to bob: Age", "VFL0342", "Age"),
        ("never Age\n bob knows Age", "VFL0342", "Age"),
        ("to carol: Age\n never to carol, bob: City, Age", "VFL0342", "Age"),
        ("to bob: Age, City, Age", "VFL0343", "Age"),
        ("to bob: Age in training, City, Age", "VFL0343", "Age"),
        ("to bob: Age\n bob knows Age", "VFL0343", "Age"),
        ("to bob: Age in training in prediction", "VFL0343", "in prediction"),
        ("to bob: Age at most 4 bits at most 5 bits", "VFL0343", "at most 5 bits"),
        ("to bob: Age at most 0 bits", "VFL0344", "Age at most 0 bits"),
        ("to bob: Age at most epsilon 0", "VFL0344", "Age at most epsilon 0"),
        ("never to bob: Age at most 4 bits", "VFL0308", "Age at most 4 bits"),
        ("to bob: ID", "VFL0105", "ID"),
    ],
)
def test_mistakes(clause: str, code: str, marked: str) -> None:
    found = errors(f"release alice {{ {clause} }}\n")
    assert (code, marked) in [(d.code, d.span.text) for d in found if d.span is not None]
    assert all(d.help for d in found)


def test_grants_stand_in_the_manifest() -> None:
    bundle = compile_source(
        SourceText(
            "spec.vfl", SPEC + ALL["bob"] + "release alice { to bob: Age, City at most 6 bits, Rich }\n"
        )
    )
    assert [
        (g["to"], g["column"], g["bits"]) for g in bundle.manifest["grants"] if g["party"] == "alice"
    ] == [
        ("bob", "Age", None),
        ("bob", "City", 6.0),
        ("bob", "Rich", None),
    ]
    page = bundle.files["manifest.md"].decode()
    assert "| bob | alice.Salary | its code (1 bit a row) | train, evaluate, predict | `a`" in page
    assert "- alice.City to bob at most 6 bits a row" in page


def test_formatting() -> None:
    text = "release alice { to bob : Age ,City   at most 6 bits\n never to carol:Age\n bob knows Rich }"
    wanted = (
        "release alice {\n  to bob: Age, City at most 6 bits\n  never to carol: Age\n  bob knows Rich\n}\n"
    )
    assert format_spec(text) == wanted
    assert format_spec(wanted) == wanted


def test_missing_grants_are_written_into_the_text() -> None:
    for spec in (SPEC, SPEC + "release alice { to bob: Age }\n", SPEC + "release bob { only to alice }\n"):
        text = fixed(spec)
        assert not [d for d in check_source(SourceText("spec.vfl", text)) if d.level == "error"]
        assert text.count("to bob: ") >= 1
        assert (
            "  # at most the code of these is learned: a bucket, hash or class\n  to alice: Item, liked\n"
            in text
        )
        assert fixed(text) == text, "nothing is missing any more"
    noisy = fixed(SPEC + "protect bob.liked with label_dp(epsilon = 4)\n")
    assert (
        "at most what a mechanism's ε allows is learned of these\n  to alice: liked at most epsilon 4\n"
        in noisy
    )


RATED = """
population users {
  key UserID
  feature Item: int -> index(64)
  label   stars: float
}
party hub {}
global items = table(64, 4) at hub
score = sum(lookup(items, users.Item))
predict stars = score
objective mse(score, users.stars)
train reconstruct { cohort 10 NOISE }
release users {
  to hub: Item
  to hub: stars HUB
  to users: Item
  to users: stars USERS
}
"""


@pytest.mark.parametrize(
    ("hub", "users", "noise", "why", "helps"),
    [
        ("at most epsilon 4", "", "", "towards hub: hub receives what each user asks for", "trusts"),
        ("at most epsilon 4", "", "noise", "towards hub: hub receives what each user asks for", "trusts"),
        ("", "at most epsilon 4", "", "towards users: what a user changes", "`noise`, `clip_norm`"),
        ("", "at most epsilon 1000", "noise", "towards users: the ε .* is for one run", "`metrics.json`"),
        ("", "", "noise", None, None),
    ],
)
def test_an_epsilon_for_users_of_a_population_says_why_there_is_none(
    hub: str, users: str, noise: str, why: str | None, helps: str | None
) -> None:
    text = RATED.replace("HUB", hub).replace("USERS", users)
    setting = "clip_norm 1 noise 1.0 noise_delta 1e-5 weighting uniform" if noise else ""
    found = check_source(SourceText("spec.vfl", text.replace("NOISE", setting)))
    if why is None or helps is None:
        assert not found
        return
    (one,) = found
    assert one.code == "VFL0349" and re.search(why, one.message) and helps in (one.help or "")
    assert one.span is not None and "stars at most epsilon" in one.span.text


def test_waivers_of_earlier_versions_give_way_to_grants(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.vfl"
    waivers = (
        'accept VFL0310 on gradients to alice because "bob has licensed the labels"  # contract 17\n'
        'accept VFL0320 on a\n  because "it is written so"\n'
    )
    spec.write_text(SPEC + waivers, encoding="utf-8")
    assert [d.code for d in check_source(SourceText("spec.vfl", SPEC + waivers))] == ["VFL0307", "VFL0307"]
    assert run(["check", "--fix", str(spec)]) == 0
    shown = capsys.readouterr().out
    assert "removed accept VFL0310" in shown and "added   to bob: City, Rich" in shown
    assert spec.read_text(encoding="utf-8") == fixed(SPEC)
    beside = fixed(SPEC.replace("{}\n", '{} accept VFL0321 on a because "bob may" \n'))
    assert "accept" not in beside and "party carol {}" in beside


def test_fix_writes_the_file_and_says_what_it_added(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.vfl"
    spec.write_text(SPEC, encoding="utf-8")
    assert run(["check", "--fix", str(spec)]) == 0
    assert "added   to bob: City, Rich\n" in capsys.readouterr().out
    assert "release alice {" in spec.read_text(encoding="utf-8")
    broken = SPEC.replace("bob.liked)", "bob.likd)")
    spec.write_text(broken, encoding="utf-8")
    assert run(["check", "--fix", str(spec)]) == 1
    assert "VFL0105" in capsys.readouterr().out
    assert spec.read_text(encoding="utf-8") == broken


def test_fix_changes_the_file_behind_a_link_and_keeps_stdout_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, link = tmp_path / "spec.vfl", tmp_path / "link.vfl"
    spec.write_text(SPEC, encoding="utf-8")
    link.symlink_to(spec)
    assert run(["check", "--fix", "--format", "json", str(link)]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) is not None and "added release" in shown.err
    assert link.is_symlink() and "release alice" in spec.read_text(encoding="utf-8")


def test_where_a_mechanism_is_not_enough_the_rest_is_named() -> None:
    """Randomised answers cover gradients; the best epoch is chosen by the labels themselves."""
    text = """party alice {
  key ID
  feature Age: float -> standardize
}
party bob {
  key ID
  label liked: int
}
h = dense(alice.Age, 8)
fuse at bob { logit = dense(h, 1) }
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
protect bob.liked with label_dp(epsilon = 2)
release alice { to bob: Age }
release bob { to alice: liked at most epsilon 2 }
"""
    assert not check_source(SourceText("s.vfl", text))
    (refused,) = check_source(SourceText("s.vfl", text + "train { epochs 4  validation 0.2 }\n"))
    assert refused.code == "VFL0340" and refused.help is not None
    assert "`control best, loss`: remove `validation`" in refused.help


def test_a_sum_over_three_parties_offers_to_hide_its_terms() -> None:
    parties = (
        "party alice { key ID feature A{1..2}: float -> standardize }\n"
        "party carol { key ID feature C{1..2}: float -> standardize }\n"
        "party bob { key ID feature B: float -> standardize label Y: int }\n"
    )
    model = (
        "logit = dense(concat(alice.features, carol.features, bob.features), 1)\n"
        "predict Y = sigmoid(logit)\nobjective bce(logit, bob.Y)\n"
    )

    def helps(text: str) -> list[str]:
        found = [d.help or "" for d in check_source(SourceText("spec.vfl", text)) if d.code == "VFL0340"]
        return [help for help in found if "`to bob: " in help]

    offer = (
        "bob reads `logit.alice` and `logit.carol` only as a sum: `protect logit.alice with secure_sum` "
        "would show it the sum alone, under the same grant"
    )
    assert [offer in help for help in helps(parties + model)] == [True, True], "at alice and at carol"
    assert not any("secure_sum" in h for h in helps(f"{parties}{model}protect logit.alice with secure_sum\n"))
    two = model.replace("carol.features, ", "")
    assert helps(parties + two) and not any("secure_sum" in help for help in helps(parties + two))
