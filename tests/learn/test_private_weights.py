"""What weights that learn with `dp_sgd` let through: what rows add behind it, all else as it was."""

from __future__ import annotations

import pytest
from granting import granted
from vflc_common.bound import Bound
from vflc_common.words import Program

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.passes.learn.bounds import bound_of, declared
from vflc.passes.learn.received import received

SPEC = """
party alice {
  key ID
  feature Age:  float
  feature City: int -> index(16)
  column  Owed: float
  label   debt = Owed
}
party bob {
  key ID
  feature Item: float
  column  Stars: float
  label   liked = Stars > 3
}
party carol {
  key ID
  feature Pay: float
}
BOTTOM
fuse at bob {
  logit = dense(tanh(TOP), 1)
}
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)MORE
train { epochs 4 }
"""
BOTTOM = "a = dense(concat(alice.Age, embed(alice.City, dim = 3)), 3)"
ROWS = "protect a with gaussian(clip = 1.0, epsilon = 3, delta = 1e-7)\n"
WEIGHTS = "protect weights at alice with dp_sgd(clip = 1.0, epsilon = 5, delta = 1e-6)\n"


def bound(
    protect: str, of: str = "alice.Age", to: str = "bob", program: Program = "train", **parts: str
) -> Bound:
    """What a place may learn of a column in one program."""
    text = SPEC.replace("BOTTOM", parts.get("bottom", BOTTOM)).replace("MORE", parts.get("more", ""))
    text = text.replace("TOP", parts.get("top", "concat(a, bob.Item)"))
    model = compile_source(SourceText("spec.vfl", granted(text + protect))).model
    secrets = received(model)[to]
    reached = [s for s, ways in secrets.items() if any(way.program == program for way in ways)]
    return bound_of([s for s in reached if str(s.source) == of], declared(model))


def test_both_mechanisms_together_bound_all_that_training_sends() -> None:
    assert bound(ROWS + WEIGHTS) == Bound("epsilon", None, 8.0, 1e-6 + 1e-7)


@pytest.mark.parametrize("protect", ["", ROWS, WEIGHTS])
def test_one_of_them_bounds_nothing(protect: str) -> None:
    assert bound(protect).kind == "all"
    assert bound(protect, "alice.City") == Bound("code", 4.0), "of a code it is the code"


def test_a_weight_that_is_left_out_hands_on_what_it_learned() -> None:
    assert bound(ROWS + WEIGHTS.replace("weights at", "weights a.dense.bias at")).kind == "all"


def test_rows_that_meet_elsewhere_are_no_matter_where_they_left_with_noise() -> None:
    """batch_norm at bob mixes rows of what he holds anyway."""
    assert bound(ROWS + WEIGHTS, top="concat(batch_norm(a), bob.Item)") == Bound(
        "epsilon", None, 8.0, 1e-6 + 1e-7
    )


def test_rows_that_meet_elsewhere_in_the_clear_come_back_in_every_gradient() -> None:
    """carol mixes alice's rows, which reach her without noise: so each gradient depends on all rows."""
    top = "concat(a, batch_norm(dense(b, 2)), bob.Item)"
    bottom = BOTTOM + "\nb = dense(alice.Age, 2)\nc = batch_norm(dense(b, 2)) at carol"
    text = "concat(a, c, bob.Item)"
    assert bound(ROWS + WEIGHTS, bottom=bottom, top=text).kind == "all"
    assert bound(ROWS + WEIGHTS + ROWS.replace("protect a", "protect b"), bottom=bottom, top=text) == Bound(
        "epsilon", None, 11.0, 1e-6 + 2e-7
    )
    assert bound(ROWS + WEIGHTS, bottom=bottom, top=top).kind == "all"


def test_a_grid_of_the_batch_is_in_the_clear_in_every_gradient() -> None:
    """The range of a batch is taken before the noise of no row: it depends on all rows."""
    grid = "protect a with quantize(bits = 8, per = batch)\n"
    assert bound(grid + WEIGHTS).kind == "all"


def test_weights_of_another_party_learn_labels_in_the_clear() -> None:
    """bob's weights learn from his label, and what alice learns of it is no matter of her own noise."""
    assert bound(WEIGHTS + ROWS, "bob.liked", "alice") == Bound("code", 1.0)


def test_a_third_party_learns_of_a_label_through_weights_with_noise() -> None:
    """The label reaches carol through alice's weights alone."""
    bottom = BOTTOM + "\nc = dense(concat(stop_gradient(a), carol.Pay), 2) at carol"
    top = "concat(a, stop_gradient(c), bob.Item)"
    assert bound("", "bob.liked", "carol", bottom=bottom, top=top) == Bound("code", 1.0)
    assert bound(WEIGHTS, "bob.liked", "carol", bottom=bottom, top=top) == Bound("code", 1.0), (
        "bob's own weights, which learned from the labels of other rows, made the gradients"
    )
    drawn = WEIGHTS + "protect bob.liked with label_dp(epsilon = 2)\n"
    assert bound(drawn, "bob.liked", "carol", bottom=bottom, top=top) == Bound("epsilon", None, 2.0, 0.0)


@pytest.mark.parametrize("program", ["train", "evaluate", "predict"])
def test_what_only_weights_tell_is_bounded_in_every_program(program: Program) -> None:
    """A label of alice's, which a task of her own trains the weights of `a` with, is in no row that goes."""
    more = {"more": " + mse(dense(a, 1), alice.debt)"}
    assert bound("", "alice.debt", program=program, **more).kind == "all"
    assert bound(WEIGHTS, "alice.debt", program=program, **more) == Bound("epsilon", None, 5.0, 1e-6)
    some = WEIGHTS.replace("weights at", "weights a.* at")
    assert bound(some, "alice.debt", program=program, **more).kind == "all", (
        "the top of her own task learns in the clear, and makes the gradients of all rows"
    )
