"""Models that give a column away although something seems to hide it: their bounds say so.

Each was attacked from outside with the column as the result, exactly or nearly. None of what
seems to hide it (layers, widths, losses, sums, noise without a proof, little noise) may lower a
bound below what these models let through.
"""

from __future__ import annotations

import pytest
from vflc_common.bound import Bound

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.ir.stages import Partitioned
from vflc.passes.learn.bounds import learned
from vflc.passes.learn.received import received
from vflc.passes.lower import lower
from vflc.passes.pipeline import Pipeline, pipeline
from vflc.syntax.parser import parse

PARTIES = """
party alice {
  key ID
  feature x{1..3}: float
  feature City: string -> hash(64)
}
party bob {
  key ID
  feature Item:  int -> index(16)
  column  Price: float
  column  Rating: int
  label   liked = Rating > 3
  label   cost  = Price
  label   star:  int -> index(4)
  weight  W = 1 + 9 * (Rating > 3)
}
party carol {
  key ID
  feature z{1..2}: float
}
"""
X = "concat(alice.x1, alice.x2, alice.x3)"
END = "predict liked = sigmoid(logit) at bob\nobjective bce(logit, bob.liked)\n"


def bounds(body: str) -> dict[tuple[str, str], Bound]:
    """By receiver and column, without the grants that the spec would need."""
    collector = DiagnosticCollector()
    model = lower(parse(SourceText("spec.vfl", PARTIES + body), collector), "spec", None, collector)
    collector.refuse_errors()
    assert model is not None
    steps = pipeline().passes
    judging = next(index for index, step in enumerate(steps) if step.name == "disclose")
    model = Pipeline(steps[:judging], Partitioned).run(model, collector)
    rows = learned(model, received(model))
    return {(row.receiver, f"{row.party}.{row.column}"): row.bound for row in rows}


def shown(bound: Bound) -> str:
    number = {"code": bound.bits, "epsilon": bound.epsilon}.get(bound.kind)
    return bound.kind if number is None else f"{bound.kind} {number:g}"


TOPS = {
    "an affine top": "logit = dense(h, 1) at bob",
    "a narrow layer": "logit = dense(mlp(h, [8]), 1) at bob",
    "two layers": "logit = dense(mlp(h, [16, 8]), 1) at bob",
    "wide layers": "logit = dense(mlp(h, [256, 128, 64]), 1) at bob",
    "gelu": "logit = dense(gelu(h), 1) at bob",
    "cos": "logit = dense(cos(h), 1) at bob",
    "softmax": "logit = dense(softmax(h), 1) at bob",
    "layer_norm": "logit = dense(layer_norm(h), 1) at bob",
    "batch_norm": "logit = dense(batch_norm(h), 1) at bob",
    "a reciprocal": "logit = dense(1 / (1 + exp(h)), 1) at bob",
    "a power": "logit = dense(2 ** h, 1) at bob",
    "a product with what was sent": "logit = dense(h * h, 1) at bob",
    "dropout": "logit = dense(dropout(h, 0.5), 1) at bob",
    "a place without data": "t = mlp(h, [8]) at carol\nlogit = dense(t, 1) at bob",
}


@pytest.mark.parametrize("top", TOPS.values(), ids=list(TOPS))
def test_no_top_keeps_a_label_from_whom_gradients_go_back_to(top: str) -> None:
    assert shown(bounds(f"h = dense({X}, 6)\n{top}\n{END}")["alice", "bob.Rating"]) == "code 1"


LOSSES = {
    "mse of a sigmoid": ("mse(sigmoid(logit), bob.liked)", "bob.Rating", "code 1"),
    "hinge": ("mae(relu(1 - (2 * bob.liked - 1) * logit), 0)", "bob.Rating", "code 1"),
    "one side": ("mae(bob.liked * softplus(0 - logit), 0)", "bob.Rating", "code 1"),
    "weights made of the label": ("mse(logit, 0, weight = bob.W)", "bob.Rating", "code 1"),
    "focal": ("focal(0.5 * logit, bob.liked)", "bob.Rating", "code 1"),
    "by hand": ("mean(softplus(logit) - bob.liked * logit)", "bob.Rating", "code 1"),
    "counts": ("poisson(0.1 * logit, bob.cost)", "bob.Price", "all"),
    "a number": ("mse(logit, bob.cost)", "bob.Price", "all"),
    "classes": ("cce(dense(h, 4), bob.star)", "bob.star", "code 2"),
    "the square of a number": ("mae(square(logit - bob.cost), 0)", "bob.Price", "all"),
}


@pytest.mark.parametrize(("loss", "column", "wanted"), LOSSES.values(), ids=list(LOSSES))
def test_no_loss_keeps_what_it_compares_with(loss: str, column: str, wanted: str) -> None:
    body = f"h = dense({X}, 6)\nlogit = dense(mlp(h, [8]), 1) at bob\nobjective {loss}\n"
    assert shown(bounds(body + "predict seen = logit of bob.cost\n")["alice", column]) == wanted


HIDING = {
    "tiny noise": ("protect gradients to alice with iso(scale = 1e-9)", "code 1"),
    "norms alike": ("protect gradients to alice with max_norm", "code 1"),
    "marvell": ("protect gradients to alice with marvell(sum_kl = 0.01)", "code 1"),
    "compression": ("protect gradients to alice with quantize(bits = 2)", "code 1"),
    "the largest alone": ("protect gradients to alice with top_k(1)", "code 1"),
    "a large epsilon": ("protect bob.liked with label_dp(epsilon = 99)", "epsilon 99"),
    "a small epsilon": ("protect bob.liked with label_dp(epsilon = 0.5)", "epsilon 0.5"),
}


@pytest.mark.parametrize(("line", "wanted"), HIDING.values(), ids=list(HIDING))
def test_only_what_is_proven_counts(line: str, wanted: str) -> None:
    body = f"h = dense({X}, 6)\nlogit = dense(mlp(h, [8]), 1) at bob\n{END}{line}\n"
    assert shown(bounds(body)["alice", "bob.Rating"]) == wanted


FEATURES = {
    "sixteen units of tanh": f"h = dense({X}, 16, activation = tanh)",
    "one unit": f"h = dense({X}, 1)",
    "a column by a constant": "h = stop_gradient(dense(alice.x1, 2))",
    "a column normalised": "h = dense(batch_norm(dense(alice.x1, 1)), 4)",
    "a deep bottom": f"h = mlp({X}, [64, 32, 2])",
    "compression": f"h = dense({X}, 3)\nprotect h with quantize(2)",
}


@pytest.mark.parametrize("bottom", FEATURES.values(), ids=list(FEATURES))
def test_no_bottom_keeps_a_number(bottom: str) -> None:
    bottom, _, protect = bottom.partition("\nprotect")
    body = f"{bottom}\nlogit = dense(mlp(h, [8]), 1) at bob\n{END}{protect and 'protect' + protect}\n"
    assert shown(bounds(body)["bob", "alice.x1"]) == "all"


FACTORS = (
    "v = sum(embed([alice.City], dim = 4), axis = field)\nw = embed(bob.Item, dim = 4)\n"
    f"logit = dot(v, w) + dense(w, 1) at bob\n{END}"
)
TARGET = f"h = dense({X}, 1)\nlogit = dense(mlp(h, [8]), 1) at bob\n{END}objective mse(h, bob.cost)\n"


def test_gradients_carry_features_of_who_sends_them() -> None:
    """The film's factors in what DeepFM sends back, and a column that an activation is compared with."""
    assert shown(bounds(FACTORS)["alice", "bob.Item"]) == "code 4"
    assert shown(bounds(TARGET)["alice", "bob.Price"]) == "all"


WEIGHT = f"w = weight(6) at alice\nh = dense({X}, 6)\nlogit = dense(mlp(h * w, [8]), 1) at bob\n{END}"


def test_sums_over_a_batch_carry_every_row() -> None:
    """A weight at alice that bob reads: its gradient is one sum a step, and a batch may have one row."""
    for more in ("", "train { batch 1 }\n"):
        assert shown(bounds(WEIGHT + more)["alice", "bob.Rating"]) == "code 1"


SUM = (
    "a = dense(concat(alice.x1, alice.x2), 8)\nc = dense(concat(carol.z1, carol.z2), 8)\n"
    f"logit = dense(relu(a + c), 1) at bob\n{END}protect a with secure_sum\n"
)


def test_the_sum_of_two_parties_hides_neither() -> None:
    found = bounds(SUM)
    assert shown(found["bob", "alice.x1"]) == shown(found["bob", "carol.z1"]) == "all"


def test_many_guards_on_one_column_add_up() -> None:
    parts = [f"h{i} = stop_gradient(dense(alice.x1, 2))" for i in range(16)]
    guards = [f"protect h{i} with gaussian(clip = 1.0, epsilon = 2, delta = 1e-6)" for i in range(16)]
    joined = ", ".join(f"h{i}" for i in range(16))
    body = "\n".join([*parts, f"logit = dense(mlp(concat({joined}), [8]), 1) at bob", END, *guards]) + "\n"
    bound = bounds(body)["bob", "alice.x1"]
    assert (bound.kind, bound.epsilon, bound.delta) == ("epsilon", 32, pytest.approx(16e-6))
    bare = body.replace("protect h7 with gaussian(clip = 1.0, epsilon = 2, delta = 1e-6)\n", "")
    assert bounds(bare)["bob", "alice.x1"].kind == "all"


def test_running_statistics_tell_of_rows_whatever_guards_the_weights() -> None:
    """They move by the rows themselves, without clip or noise, and are read in evaluation and prediction."""
    noisy = "gaussian(clip = 1.0, epsilon = 1, delta = 1e-6)"
    body = (
        f"low = batch_norm(dense({X}, 4))\nh = stop_gradient(low)\ng = dense({X}, 2)\n"
        f"logit = dense(mlp(concat(h, g), [8]), 1) at bob\n{END}"
        f"protect h with {noisy}\nprotect g with {noisy}\n"
        "protect weights at alice with dp_sgd(clip = 1.0, epsilon = 1)\n"
    )
    bare = body.replace("batch_norm(", "tanh(")
    assert shown(bounds(bare)["bob", "alice.x1"]) == "epsilon 3"
    assert shown(bounds(body)["bob", "alice.x1"]) == "all"


def test_noise_in_training_says_nothing_of_rows_that_are_only_evaluated() -> None:
    body = (
        f"h = stop_gradient(dense({X}, 4))\nlogit = dense(mlp(h, [8]), 1) at bob\n{END}"
        "protect h with gaussian(clip = 1.0, epsilon = 1, delta = 1e-6)"
    )
    assert shown(bounds(body + " in training\n")["bob", "alice.x1"]) == "all"
    assert shown(bounds(body + "\n")["bob", "alice.x1"]) == "epsilon 1"


def test_the_choice_of_an_epoch_tells_of_labels() -> None:
    body = f"h = stop_gradient(dense({X}, 4))\nlogit = dense(h, 1) at bob\n{END}"
    assert shown(bounds(body)["alice", "bob.Rating"]) == "nothing"
    chosen = bounds(body + "train { validation 0.2  best true }\n")
    assert shown(chosen["alice", "bob.Rating"]) == "code 1"


def test_what_never_leaves_is_not_learned() -> None:
    """The other side: a frozen bottom gets no gradient, and a column that is not used goes nowhere."""
    body = f"h = stop_gradient(dense(alice.x1, 4))\nlogit = dense(mlp(h, [8]), 1) at bob\n{END}"
    found = bounds(body)
    assert shown(found["alice", "bob.Rating"]) == shown(found["bob", "alice.x2"]) == "nothing"
    told = {name: shown(bound) for (receiver, name), bound in found.items() if receiver == "carol"}
    assert {name for name, bound in told.items() if bound != "nothing"} == {"alice.ID", "bob.ID"}
    assert told["alice.ID"] == told["bob.ID"] == "rows", "alignment alone"
