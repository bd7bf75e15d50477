"""What crosses in the stead of a value that is protected, and who reads which."""

from __future__ import annotations

import math

import pytest
from granting import granted
from vflc_common.words import PROGRAMS

from vflc.diagnostics import SourceText as Text
from vflc.driver import check_source, compile_source

HUB = """
party alice {
  key ID
  feature Age: float
}
party bob {
  key ID
  label liked: int
  label owed: float
}
party hub {}
h = dense(alice.Age, 3)
fuse at hub {
  logit = dense(h, 1)
  score = sigmoid(logit)
}
own = dense(logit, 1) at bob
predict liked = score
predict owed = own
objective bce(logit, bob.liked) + mse(own, bob.owed)
protect logit with gaussian(clip = 1.0, epsilon = 8, passes = 3)
protect score with quantize(bits = 4, per = batch)
train { epochs 2 }
"""


def test_losses_and_metrics_elsewhere_read_what_crosses() -> None:
    model = compile_source(Text("spec.vfl", granted(HUB))).model
    assert [p.node for p in model.predictions] == ["score.protected", "own"], "own is measured where it is"
    assert [loss.logit for loss in model.losses] == ["logit.protected", "own"]
    assert [guard.programs for guard in model.guards] == [PROGRAMS, PROGRAMS[:1]], (
        "compression is of training"
    )
    forward = {edge.id: edge.programs for edge in model.edges if edge.phase == "forward"}
    assert forward["logit.protected"] == ("train", "evaluate", "predict"), "own is predicted, too"
    assert forward["score.protected"] == ("evaluate",) and "score" not in forward and "logit" not in forward
    here = HUB.replace("fuse at hub", "fuse at bob").replace(
        "protect score with quantize(bits = 4, per = batch)\n", ""
    )
    model = compile_source(Text("spec.vfl", granted(here.replace("protect logit", "protect h")))).model
    assert [p.node for p in model.predictions] == ["score", "own"]
    assert [loss.logit for loss in model.losses] == ["logit", "own"]


def test_values_of_several_places_have_a_guard_at_each() -> None:
    """`features` of both parties go to the hub under one name: alice's do not wait for carol's."""
    text = HUB.replace("party hub {}", "party carol {\n  key ID\n  feature Pay: float\n}\nparty hub {}")
    text = text.replace("h = dense(alice.Age, 3)", "h = {a = dense(alice.Age, 3), b = dense(carol.Pay, 2)}")
    text = text.replace("dense(h, 1)", "dense(concat(h.a, h.b), 1)").replace("protect logit", "protect h")
    model = compile_source(Text("spec.vfl", granted(text))).model
    found = {guard.id: (guard.place, guard.before, guard.after) for guard in model.guards if guard.proven}
    assert found == {
        "protect_1.alice": ("alice", ("h.a",), ("h.a.protected",)),
        "protect_1.carol": ("carol", ("h.b",), ("h.b.protected",)),
    }


def codes_of(text: str) -> list[str]:
    return [d.code for d in check_source(Text("spec.vfl", granted(text))) if d.level == "error"]


def test_what_is_measured_at_its_own_place_does_not_leave() -> None:
    assert codes_of(HUB + "protect own with quantize(bits = 4)\n") == ["VFL0331"]
    assert not codes_of(HUB + "predict extra = exp(own)\n"), "what nothing measures is no matter"


@pytest.mark.parametrize(
    ("classes", "options", "keep"),
    [
        ("label liked: int", "epsilon = 2.0", math.exp(2) / (math.exp(2) + 1)),
        ("label liked: int -> index(5)", "epsilon = 2.0", math.exp(2) / (math.exp(2) + 4)),
        ("label liked: int -> index(5)", "epsilon = 2.0, prior = [0.5, 0.46, 0.02, 0.01, 0.01]",
         math.exp(2) / (math.exp(2) + 1)),
    ],
)  # fmt: skip
def test_how_often_a_label_is_kept(classes: str, options: str, keep: float) -> None:
    width, loss = (5, "cce") if "index" in classes else (1, "bce")
    shown = "softmax" if "index" in classes else "sigmoid"
    text = f"""
party alice {{
  key ID
  feature Age: float
}}
party bob {{
  key ID
  {classes}
}}
h = dense(alice.Age, 3)
logit = dense(h, {width}) at bob
predict liked = {shown}(logit)
objective {loss}(logit, bob.liked)
protect bob.liked with label_dp({options})
"""
    model = compile_source(Text("spec.vfl", granted(text))).model
    (first, *rest) = [node for node in model.graph if node.op == "drawn"]
    assert first.attrs["keep"] == pytest.approx(keep) and len(rest) == ("prior" in options)
    if rest:
        assert rest[0].attrs["keep"] == 0.5 and rest[0].attrs["classes"] == first.attrs["classes"] == 2


def test_a_guard_is_called_as_its_protection_where_it_is_the_only_one() -> None:
    one = HUB.split("protect logit")[0] + "protect gradients to alice with max_norm\ntrain { epochs 2 }\n"
    model = compile_source(Text("spec.vfl", granted(one))).model
    assert [guard.id for guard in model.guards] == ["protect_1"]
    there_and_back = "m = dense(h, 2) at hub\nn = dense(m, 2) at alice\nfuse at hub"
    deep = one.replace("fuse at hub", there_and_back).replace("dense(h, 1)", "dense(n, 1)")
    model = compile_source(Text("spec.vfl", granted(deep))).model
    assert {guard.id: guard.before for guard in model.guards} == {
        "protect_1.1": ("n.gradient",), "protect_1.2": ("h.gradient",),
    }, "what leaves at another time has a guard of its own"  # fmt: skip
