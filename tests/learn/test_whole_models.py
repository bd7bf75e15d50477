"""What the analysis says of whole models, and which grants they lack."""

from __future__ import annotations

import pytest
from granting import granted

from vflc.diagnostics import Diagnostic
from vflc.diagnostics import SourceText as Text
from vflc.driver import check_source, compile_source

SPEC = """
party alice {
  key ID
  feature Rich = Salary > 1000
  column  Salary: float
  feature Idle:   float
}
party bob {
  key ID
  column Stars: int
  label  liked = Stars > 3
}
a = stop_gradient(dense(alice.Rich, 3))
logit = dense(a, 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
"""


def test_a_line_for_every_receiver_and_column_of_others() -> None:
    model = compile_source(Text("spec.vfl", granted(SPEC))).model
    lines = [(each.receiver, each.party, each.column, each.bound.kind) for each in model.disclosed.learned]
    assert lines == [
        ("alice", "bob", "Stars", "nothing"),
        ("alice", "bob", "ID", "rows"),
        ("bob", "alice", "Salary", "code"),
        ("bob", "alice", "Idle", "nothing"),
        ("bob", "alice", "ID", "rows"),
    ]
    salary, key = model.disclosed.learned[2], model.disclosed.learned[4]
    assert salary.features == ("Rich", "Salary") and salary.programs == ("train", "evaluate", "predict")
    assert salary.edges == ("a",) and key.edges == ("alignment",)
    assert key.programs == ("train", "evaluate", "predict") and not model.disclosed.learned[3].edges
    assert not model.disclosed.spends


def test_a_table_hands_on_what_its_rows_learned_from() -> None:
    """bob's own task trains a table alone, whose rows go to alice without a gradient coming back."""
    text = """
party alice {
  key ID
  feature Age: float
}
party bob {
  key ID
  feature Item: int -> index(16)
  column  Stars: int
  label   liked = Stars > 3
}
rows = sum(embed([bob.Item], dim = 3), axis = field)
logit = sum(rows)
sent = stop_gradient(rows)
predict liked = sigmoid(logit)
objective bce(logit, bob.liked) + mse(sum(dense(alice.Age, 3) * sent), 0)
"""
    for objective, told in ((text, "code"), (text.replace("bce(logit, bob.liked) + ", ""), "nothing")):
        learned = compile_source(Text("spec.vfl", granted(objective))).model.disclosed.learned
        (stars,) = [each for each in learned if (each.receiver, each.column) == ("alice", "Stars")]
        assert stars.bound.kind == told


def warned(feature: str, predicted: str = "liked", at: str = "bob") -> list[str]:
    spec = f"""
party alice {{
  key ID
  feature Age: float
  feature Other = Stars > 1
  column  Stars: int
}}
party bob {{
  key ID
  column  Stars: int
  column  Churn: float
  feature Item: float
  feature Same = Stars / 2
  feature Left = Churn + 1
  label   liked = Stars > 3
  label   churn = Churn
}}
age = dense(alice.Age, 2)
other = dense({at}.{feature}, 2)
logit = dense(concat(age, other), 1) at bob
predict {predicted} = sigmoid(logit)
objective bce(logit, bob.{predicted})
"""
    compiled = compile_source(Text("spec.vfl", granted(spec)))
    return [d.message for d in compiled.warnings if d.code == "VFL0161"]


def test_a_feature_that_is_made_of_what_is_predicted() -> None:
    (message,) = warned("Same")
    assert "bob.Same and the label bob.liked are both made from Stars" in message
    assert not warned("Item") and not warned("Left") and not warned("Other", at="alice")


def ungranted(count: int, releases: str = "", owner: str = "alice") -> Diagnostic:
    """What is said of as many features, of which nothing is granted."""
    names = [f"x{chr(ord('a') + n)}" for n in range(count)]
    spec = f"""
party alice {{
  key ID
  {" ".join(f"feature {name}: float;" for name in names)}
}}
party bob {{
  key ID
  column Stars: int
  label  liked = Stars > 3
}}
z = stop_gradient(dense(alice.xa, 2))
a = stop_gradient(dense(concat({", ".join(f"alice.{name}" for name in names)}), 3))
y = stop_gradient(dense(alice.xb, 2))
logit = dense(concat(z, a, y), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
{releases}"""
    (found,) = check_source(Text("spec.vfl", spec.replace(";", "\n ").replace("alice", owner)))
    assert found.code == "VFL0340"
    return found


@pytest.mark.parametrize("count", [11, 12, 13])
def test_a_help_names_twelve_columns(count: int) -> None:
    help = str(ungranted(count).help)
    assert f"x{chr(ord('a') + min(count, 12) - 1)}" in help
    assert (", …`" in help) is (count > 12) and "xm" not in help


@pytest.mark.parametrize("owner", ["alice", "zoe"])
def test_what_lacks_a_grant_is_said_at_the_release_of_its_party(owner: str) -> None:
    for releases, before in (
        ("release bob { never to alice: liked }\nrelease alice { to bob: xa }\n", "release "),
        ("release bob { never to alice: liked }\n", "party "),
    ):
        span = ungranted(2, releases, owner).span
        assert span is not None and span.text == owner
        assert span.source.text[: span.start].endswith(before)


def test_what_lacks_a_grant_is_shown_where_it_crosses() -> None:
    """`xb` crosses in `a` first, though `z` crosses before and `y` has it, too."""
    (_, crossing) = ungranted(2, "release alice { to bob: xa }\n").labels
    assert "crosses to bob in `a`" in crossing.text
