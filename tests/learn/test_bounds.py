"""The most that may be learned, on small specs whose answer can be worked out by hand."""

from __future__ import annotations

from math import log2

import pyarrow as pa
import pytest
from granting import granted
from vflc_common.bound import Bound
from vflc_runtime.data.held_out import held_out

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

HEAD = """
party alice {
  key ID
  feature Age:   float
  feature City:  string -> hash(64)
  feature Tags:  string -> split(" ") -> hash(8)
  feature Seen:  string -> split(" ") -> hash(7) -> sequence(max = 5)
  feature Rich = Salary > 1000
  feature LogSalary = log(Salary)
  column  Salary: float
}
party bob {
  key ID
  feature Item:  int -> index(16)
  column  Stars: int
  column  Churn: float
  label   liked = Stars > 3
  label   stars = Stars -> vocab(1..5)
  label   churn = Churn
}
party hub {}
"""
TAIL = "predict liked = sigmoid(logit)\n"


def bounds(text: str) -> dict[str, dict[str, str]]:
    """By receiver and column the bound in short."""
    model = compile_source(SourceText("spec.vfl", granted(HEAD + text + TAIL))).model
    found: dict[str, dict[str, str]] = {}
    for row in model.disclosed.learned:
        if row.bound.kind != "rows":  # of keys, always
            found.setdefault(row.receiver, {})[f"{row.party}.{row.column}"] = short(row.bound)
    return found


def short(bound: Bound) -> str:
    if bound.kind == "code":
        return "code" if bound.bits is None else f"code {bound.bits:g}"
    if bound.kind == "epsilon":
        return f"epsilon {bound.epsilon:g}, {bound.delta:g}"
    return bound.kind


@pytest.mark.parametrize(
    ("feature", "column", "bound"),
    [
        ("Age", "Age", "all"),
        ("City", "City", "code 6"),
        ("Tags", "Tags", "code"),
        ("Seen", "Seen", "code 15"),
        ("Rich", "Salary", "code 1"),
        ("LogSalary", "Salary", "all"),
    ],
)
def test_what_an_activation_of_one_feature_tells(feature: str, column: str, bound: str) -> None:
    text = (
        f"a = stop_gradient(dense(flatten(embed([alice.{feature}], dim = 2)), 3))\n"
        "logit = dense(a, 1) at bob\nobjective bce(logit, bob.liked)\n"
    )
    told = bounds(text)
    assert told["bob"] == {
        **dict.fromkeys(("alice.Age", "alice.City", "alice.Tags", "alice.Seen", "alice.Salary"), "nothing"),
        f"alice.{column}": bound,
    }
    assert set(told["alice"].values()) == {"nothing"}, "the bottom is frozen: no gradient comes back"
    assert set(told["hub"].values()) == {"nothing"}


def test_codes_of_one_column_add_up() -> None:
    both = "l = dense(alice.LogSalary, 2)\nr = dense(alice.Rich, 2)\nlogit = dense(concat(l, r), 1) at bob\n"
    rich = "r = dense(alice.Rich, 2)\nlogit = dense(r, 1) at bob\n"
    loss = "objective bce(logit, bob.liked)\n"
    assert bounds(rich + loss)["bob"]["alice.Salary"] == "code 1"
    assert bounds(both + loss)["bob"]["alice.Salary"] == "all"
    stars = "s = dense(r, 5) at bob\npredict stars = softmax(s)\n"
    told = bounds(rich + stars + loss + "objective cce(s, bob.stars)\n")
    assert told["alice"]["bob.Stars"] == f"code {1 + 2.321928094887362:g}", "two labels are made of it"


def test_gradients_tell_features_too() -> None:
    text = "h = dense(alice.Age, 3)\nlogit = dense(h * dense(embed(bob.Item, dim = 2), 3), 1) at bob\n"
    told = bounds(text + "objective bce(logit, bob.liked)\n")
    assert told["alice"] == {"bob.Item": "code 4", "bob.Stars": "code 1", "bob.Churn": "nothing"}


def test_a_weight_hands_on_what_it_learned_from() -> None:
    """bob's own task trains his bottom, whose output goes to alice without a gradient coming back."""
    text = """
b = dense(embed(bob.Item, dim = 4), 3)
a = dense(alice.Age, 3)
logit = dense(a + stop_gradient(b), 1) at alice
objective bce(dense(b, 1), bob.liked) + mse(dense(a, 1), 0)
"""
    told = bounds(text)
    assert told["alice"]["bob.Stars"] == "code 1", "b's weights learned from the label"
    frozen = text.replace(
        "b = dense(embed(bob.Item, dim = 4), 3)", "b = stop_gradient(dense(embed(bob.Item, dim = 4), 3))"
    )
    assert bounds(frozen)["alice"]["bob.Stars"] == "nothing"


@pytest.mark.parametrize(
    ("protect", "bound"),
    [
        ("bob.liked with label_dp(epsilon = 2)", "epsilon 2, 0"),
        ("gradients to alice with marvell(sum_kl = 0.25)", "code 1"),
        ("gradients to alice with iso(scale = 1.0)", "code 1"),
        ("gradients to alice with max_norm", "code 1"),
        ("gradients to alice with gaussian(clip = 1.0, epsilon = 8, delta = 1e-6)", "code 1"),
        ("gradients to alice with quantize(bits = 6)", "code 1"),
    ],
)
def test_only_a_mechanism_with_a_proof_bounds_a_label(protect: str, bound: str) -> None:
    """`gaussian` bounds a row's own messages, and the weights of the top that they pass learn from labels."""
    text = "h = dense(alice.Age, 3)\nlogit = dense(h, 1) at bob\nobjective bce(logit, bob.liked)\n"
    assert bounds(text + f"protect {protect}\n")["alice"]["bob.Stars"] == bound


def test_two_mechanisms_on_one_column_add_up() -> None:
    text = """
h = dense(alice.Age, 3)
logit = dense(h, 1) at bob
s = dense(h, 5) at bob
predict stars = softmax(s)
objective bce(logit, bob.liked) + cce(s, bob.stars)
protect bob.liked with label_dp(epsilon = 2)
"""
    assert bounds(text)["alice"]["bob.Stars"] == f"code {1 + 2.321928094887362:g}", (
        "the other is in the clear"
    )
    assert (
        bounds(text + "protect bob.stars with label_dp(epsilon = 3)\n")["alice"]["bob.Stars"]
        == "epsilon 5, 0"
    )


NOISY = """
a = stop_gradient({bottom})
logit = dense(mlp(a, [4]), 1) at bob
objective bce(logit, bob.liked){more}
protect a with gaussian(clip = 1.0, epsilon = 8, delta = 1e-6)
"""


def test_noise_on_an_activation_counts_before_frozen_weights_alone() -> None:
    frozen = NOISY.format(bottom="dense(alice.Age, 3)", more="")
    for text, bound in ((frozen, "epsilon 8, 1e-06"), (frozen.replace("stop_gradient", ""), "all")):
        model = compile_source(SourceText("spec.vfl", granted(HEAD + text + TAIL))).model
        (row,) = [r for r in model.disclosed.learned if (r.receiver, r.column) == ("bob", "Age")]
        assert short(row.bound) == bound and "evaluate" in row.programs


def test_the_choice_of_the_best_epoch_tells_what_the_metric_depends_on() -> None:
    text = "a = stop_gradient(dense(alice.Age, 3))\nlogit = dense(a, 1) at bob\n"
    text += "objective bce(logit, bob.liked)\n"
    assert bounds(text)["alice"]["bob.Stars"] == "nothing"
    watched = text + "train { validation 0.1 metrics auc monitor auc patience 2 }\n"
    assert bounds(watched)["alice"]["bob.Stars"] == "code 1"


def test_the_best_epoch_tells_which_rows_have_the_label_that_is_measured() -> None:
    """Also where no loss is of the label, and a metric alone leaves out the rows without it."""
    head = HEAD.replace("label   churn = Churn", "label   churn = Churn > 1 -> masked")
    text = "a = stop_gradient(dense(alice.Age, 3))\nlogit = dense(a, 1) at bob\n"
    text += "predict churn = sigmoid(sum(a)) of bob.churn\nobjective bce(logit, bob.liked)\n"
    text += "train { validation 0.1  metrics mae  monitor mae }\n"
    model = compile_source(SourceText("spec.vfl", granted(head + text + TAIL))).model
    (row,) = [r for r in model.disclosed.learned if (r.receiver, r.column) == ("alice", "Churn")]
    assert row.bound.kind == "code" and row.bound.bits == log2(3) + 1


def test_a_place_without_data_is_a_receiver() -> None:
    text = "h = dense(alice.Age, 3)\nm = mlp(h, [4]) at hub\nlogit = dense(m, 1) at bob\n"
    told = bounds(text + "objective bce(logit, bob.liked)\n")
    assert told["hub"]["alice.Age"] == "all" and told["hub"]["bob.Stars"] == "code 1"


def test_a_weight_of_rows_is_a_column_like_others() -> None:
    loss = "objective bce(logit, bob.liked, weight = bob.much)\n"
    text = "h = dense(alice.Age, 3)\nlogit = dense(h, 1) at bob\n" + loss
    head = HEAD.replace(
        "label   churn = Churn", "label   churn = Churn\n  weight  much = 1 + 9 * (Churn > 0)"
    )
    model = compile_source(SourceText("spec.vfl", granted(head + text + TAIL))).model
    told = {f"{row.receiver}: {row.column}": short(row.bound) for row in model.disclosed.learned}
    assert told["alice: Churn"] == "code 1" and told["alice: Stars"] == "code 1"


def test_what_is_fitted_to_a_label_depends_on_it() -> None:
    """The prediction is in the units of the table, so its scale is the label's own."""
    head = HEAD.replace("label   churn = Churn", "label   churn = Churn -> standardize")
    text = "h = dense(alice.Age, 3)\ny = dense(h, 1) at bob\npredict churn = y\nobjective mse(y, bob.churn)\n"
    model = compile_source(SourceText("spec.vfl", granted(head + text))).model
    told = {f"{row.receiver}: {row.column}": short(row.bound) for row in model.disclosed.learned}
    assert told["alice: Churn"] == "all"


@pytest.mark.parametrize(
    "more", ["batch 1", "batch 100000", "epochs 9", "seed 3", "validation 0.3", "shuffle false"]
)
def test_what_a_run_may_choose_changes_no_bound(more: str) -> None:
    """Batches mix rows whatever their size, and a run of more epochs finds more noise or is refused."""
    spec = granted("""
party alice {
  key ID
  feature Age:  float
  feature City: string -> hash(64)
}
party bob {
  key ID
  column  Stars: float
  label   liked = Stars > 3
}
h = mlp(flatten(embed(alice.features, dim = 4)), [8])
logit = dense(batch_norm(h), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
protect bob.liked with label_dp(epsilon = 2)
train { best false }
""")
    told = [
        compile_source(SourceText("spec.vfl", text)).model.disclosed.learned
        for text in (spec, spec.replace("best false", f"best false {more}"))
    ]
    assert told[0] == told[1]


POPULATION = """
population users {
  key UserID
  feature Item: int -> index(64)
  column  Stars: float
  column  Age: float
  label   stars = Stars
}
party hub {}
global items = table(64, 4) at hub
local  taste = weight(4)    at users
score = dot(taste, lookup(items, users.Item))
predict stars = score
objective mse(score, users.stars)
train reconstruct { cohort 10 weighting uniform%s }
"""


@pytest.mark.parametrize(
    ("more", "others"),
    [("", ("code 6", "all")), (" clip_norm 1 noise 1.0 noise_delta 1e-5", ("noise", "noise"))],
)
def test_what_the_hub_and_other_users_learn_of_a_user(more: str, others: tuple[str, str]) -> None:
    model = compile_source(SourceText("spec.vfl", granted(POPULATION % more))).model
    told = {
        (row.receiver, row.column): (
            "noise" if row.bound.kind == "epsilon" else short(row.bound),
            row.programs,
        )
        for row in model.disclosed.learned
    }
    everywhere = ("train", "evaluate", "predict")
    assert told["hub", "Item"] == ("code 6", everywhere), "rows are asked for in every program"
    assert told["hub", "Stars"] == ("all", ("train",)), "by how the table's rows change"
    assert told["hub", "Age"] == ("nothing", ())
    assert told["users", "Item"] == (others[0], everywhere)
    assert told["users", "Stars"] == (others[1], everywhere)


@pytest.mark.parametrize(
    ("settings", "best"),
    [("", False), ("validation 0.1", True), ("validation 0.1 best false", False), ("best true", True)],
)
def test_the_best_epoch_is_kept_where_rows_are_for_validation_and_told(settings: str, best: bool) -> None:
    text = "a = stop_gradient(dense(alice.Age, 3))\nlogit = dense(a, 1) at bob\n"
    text += f"objective bce(logit, bob.liked)\ntrain {{ {settings} }}\n"
    assert compile_source(SourceText("spec.vfl", granted(HEAD + text + TAIL))).model.train.best is best
    assert bounds(text)["alice"]["bob.Stars"] == ("code 1" if best else "nothing")


@pytest.mark.parametrize(
    ("setting", "bound"),
    [
        ("where Salary > 9", "code 1"),
        ("stratified(Salary > 9, 0.2)", f"code {log2(3):g}"),
        ("groups(Salary > 9, 0.2)", f"code {log2(3):g}"),
    ],
)
def test_rows_without_a_value_are_a_class_of_their_own(setting: str, bound: str) -> None:
    text = (
        "a = stop_gradient(dense(alice.Age, 3))\nlogit = dense(a, 1) at bob\n"
        "objective bce(logit, bob.liked)\n"
    )
    told = bounds(text + f"train {{ validation {setting}  best false }}\n")
    assert told["bob"]["alice.Salary"] == told["hub"]["alice.Salary"] == bound
    if "stratified" in setting:
        classes = [[True, False, None] * 10, [True, False, False] * 10]
        kept = [held_out("strata", pa.array(each), 0, 0.34, 0).tolist() for each in classes]
        assert kept[0] != kept[1], "what others are told differs, although no condition does"
