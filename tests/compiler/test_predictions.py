"""What a prediction may be measured against, and what a label, a weight or a column may be used for."""

from __future__ import annotations

import pytest
from granting import granted

from vflc.diagnostics import SourceText
from vflc.driver import check_source, compile_source
from vflc.syntax.format import format_spec

SPEC = """party alice {
  key ID
  feature Age: float
}

party bob {
  key ID
  feature Trust: float
  column Sales: float
  column Note: string
  label log_sales = log(1 + Sales)
  label scaled = Sales -> standardize
  label liked = Sales > 3
  label star: int -> vocab(1..5)
  label rank: int -> index(5)
  label L{1..2}: float
  weight W: float
  weight V = 1 + 9 * (Sales > 3)
}

h = mlp(dense(alice.Age, 4), [16])
y = dense(mlp(h, [8]), 1) at bob
z = dense(mlp(h, [8]), 5) at bob
"""


def found(tail: str) -> list[str]:
    text = SPEC + tail + "\n"
    return [
        f"{d.code} {d.message}"
        for d in check_source(SourceText("s.vfl", granted(text)))
        if d.level == "error"
    ]


@pytest.mark.parametrize(
    "tail",
    [
        "predict log_sales = y\nobjective huber(y, bob.log_sales)",
        "predict scaled = y\nobjective mse(y, bob.scaled)",
        "predict scaled = y at bob\nobjective mse(y, bob.scaled)",
        "predict Sales = exp(y) - 1 of Sales\nobjective huber(y, bob.log_sales)",
        "predict Sales = exp(y) - 1 of bob.Sales at bob\nobjective huber(y, bob.log_sales)",
        "predict Sales = exp(y) - 1 at bob of bob.Sales\nobjective huber(y, bob.log_sales)",
        "predict s = 2 * y of scaled\nobjective mse(y, bob.scaled)",
        "predict log_sales = clip(y, 0, 9)\nobjective mse(y, bob.log_sales)",
        "predict rank = y\nobjective mse(y, bob.rank)",
        "predict liked = sigmoid(y)\nobjective bce(y, bob.liked)",
        "predict liked = y\nobjective mse(y, bob.liked)",
        "predict star = softmax(z)\nobjective cce(z, bob.star)",
        "predict liked = sigmoid(y)\nobjective bce(y, bob.liked, weight = bob.W)",
        "predict liked = sigmoid(y)\nobjective bce(y, bob.liked, weight = 2 * bob.V)",
        "g = sigmoid(dense(h, 1)) at bob\npredict liked = sigmoid(y)\nobjective bce(y, bob.liked, weight=g)",
    ],
)
def test_like_is_compared_with_like(tail: str) -> None:
    assert found(tail) == []


def test_a_name_alone_is_brought_to_the_place_that_is_demanded() -> None:
    text = SPEC.replace("z = dense", "p = sigmoid(y)\nq = p at hub\nz = dense").replace(
        "h = mlp", "party hub {}\n\nh = mlp"
    )
    text += "predict liked = p at alice\npredict again = q\nobjective bce(y, bob.liked)\n"
    model = compile_source(SourceText("s.vfl", granted(text))).model
    assert model is not None
    places = {each.name: model.inference[each.node].place for each in model.predictions}
    assert places == {"liked": "alice", "again": "hub"}


def test_a_term_without_a_label_measures_nothing() -> None:
    assert found("predict p = dense(h, 1)\nobjective mse(y, bob.log_sales) + 0.1 * mse(h, 0)") == []


@pytest.mark.parametrize(
    ("tail", "code", "says"),
    [
        (
            "predict sales = exp(y) - 1\nobjective huber(y, bob.log_sales)",
            "VFL0210",
            "`sales` is computed from what huber compares with bob.log_sales",
        ),
        ("predict scaled = clip(y, 0, 9)\nobjective mse(y, bob.scaled)", "VFL0210", "`scaled` is computed"),
        ("predict s = y of Sales\nobjective huber(y, bob.log_sales)", "VFL0210", "not with bob.Sales"),
        ("predict liked = y\nobjective bce(y, bob.liked)", "VFL0210", "is the logit that bce reads"),
        ("predict star = z\nobjective cce(z, bob.star)", "VFL0210", "is the logit that cce reads"),
        (
            "predict p = sigmoid(y) of log_sales\nobjective bce(y, bob.liked)",
            "VFL0210",
            "not with bob.log_sales",
        ),
        ("predict star = y\nobjective mse(y, bob.star)", "VFL0210", "against the ids of bob.star"),
        ("predict s = y of Note\nobjective mse(h, 0)", "VFL0210", "`Note` of bob is text"),
        ("predict s = exp(y) of Trust\nobjective mse(y, bob.log_sales)", "VFL0210", "is a feature"),
        ("predict s = exp(y) of Salse\nobjective mse(y, bob.log_sales)", "VFL0105", "no party has a column"),
        ("predict scaled = y at alice\nobjective mse(y, bob.scaled)", "VFL0212", "only bob knows"),
        (
            "p = dense(concat(h, dense(bob.liked, 2)), 1)\npredict liked = p\nobjective mse(h, 0)",
            "VFL0110",
            "bob.liked is a label",
        ),
        ("predict liked = sigmoid(y * bob.W)\nobjective mse(h, 0)", "VFL0110", "bob.W is a weight"),
        (
            "predict p = dense(concat(bob.L{1..2}), 1)\nobjective mse(h, 0)",
            "VFL0110",
            "bob.L1 is a label",
        ),
        (
            "predict liked = sigmoid(y)\nobjective bce(y, bob.liked, weight = bob.Sales)",
            "VFL0111",
            "`Sales` is a `column` of bob",
        ),
        (
            "predict liked = sigmoid(y)\nobjective bce(y, bob.liked, weight = bob.Trust)",
            "VFL0211",
            "bob.Trust is a feature",
        ),
        (
            "predict liked = sigmoid(y)\nobjective bce(y, bob.liked, weight = 1 + 9 * bob.liked)",
            "VFL0211",
            "bob.liked is a label",
        ),
        ("predict liked = sigmoid(y)\nobjective bce(y, bob.liked, weight = -1)", "VFL0205", "below 0"),
    ],
)
def test_unlike_things_are_refused(tail: str, code: str, says: str) -> None:
    messages = found(tail)
    assert messages and messages[0].startswith(code) and says in messages[0], messages


def test_a_weight_of_another_party_is_refused() -> None:
    text = SPEC.replace("feature Age: float", "feature Age: float\n  weight U: float")
    text += "predict liked = sigmoid(y)\nobjective bce(y, bob.liked, weight = alice.U)\n"
    (error,) = (d for d in check_source(SourceText("s.vfl", granted(text))) if d.level == "error")
    assert error.code == "VFL0211" and "alice.U is at alice, but the label is at bob" in error.message


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("weight X: string", "the weight `X` is text"),
        ("weight X: int -> vocab(1, 2)", "the weight `X` is an id"),
    ],
)
def test_a_weight_is_a_number(line: str, says: str) -> None:
    text = SPEC.replace("weight W: float", line) + "predict liked = sigmoid(y)\nobjective bce(y, bob.liked)\n"
    (error,) = (d for d in check_source(SourceText("s.vfl", granted(text))) if d.level == "error")
    assert error.code == "VFL0204" and says in error.message


def test_weights_of_a_population_are_refused() -> None:
    text = """
population users {
  key U
  feature M: int -> index(10)
  label r: float
  weight w: float
}
party hub {}
global items = table(10, 4) at hub
s = sum(lookup(items, users.M))
predict r = s
objective mse(s, users.r, weight = users.w)
"""
    assert "VFL0502" in {d.code for d in check_source(SourceText("s.vfl", granted(text)))}
    scaled = text.replace("  weight w: float\n", "").replace(", weight = users.w", "")
    assert not [d for d in check_source(SourceText("s.vfl", granted(scaled))) if d.level == "error"]
    scaled = scaled.replace("label r: float", "label r: float -> scale(0.2)")
    (error,) = check_source(SourceText("s.vfl", granted(scaled)))
    assert error.code == "VFL0502" and "cannot undo the encoders" in error.message


def test_words_are_names_elsewhere() -> None:
    """`weight` and `of` are keywords only where their statements are."""
    text = """party alice {
  key weight
  feature of:     float
  column  weight: float
  label   y = weight > of
  weight  w = weight
}

of      = dense(alice.of, 2)
weighed = dense(of, 1) * weight(1)
predict of = sigmoid(weighed) of alice.y at alice
objective bce(weighed, alice.y, weight = alice.w)
"""
    assert format_spec(text) == text
    assert [d.code for d in check_source(SourceText("s.vfl", granted(text))) if d.level == "error"] == []
