"""Protections of what the compiler has split."""

from __future__ import annotations

import pytest
from push_down.one_table import compiled, floats, one_table

MODEL = "logit = dense(mlp(flatten(embed(FEATURES, dim = 8)), [4]), 1)"
PART = "logit.mlp.0.linear.alice"


def test_a_sum_of_three_parties_may_travel_masked() -> None:
    text = one_table(MODEL, 3)
    (offer,) = compiled(text).model.offers
    assert f"`protect {PART} with secure_sum` would show it the sum alone" in offer.text
    masked = compiled(text + f"protect {PART} with secure_sum\n")
    assert masked.model.offers == ()
    assert {guard.place for guard in masked.model.guards} == {"alice", "bob"}


@pytest.mark.parametrize("target", [PART, "logit.mlp", "logit.mlp.0"])
def test_parts_are_named_as_the_manifest_names_them(target: str) -> None:
    text = one_table(MODEL) + f"protect {target} with gaussian(clip = 1.0, noise = 0.5)\n"
    (guard,) = compiled(text).model.guards
    assert guard.before == (PART,)
    assert floats(compiled(text)) == {"alice": 4}


def test_a_value_that_is_protected_is_computed_as_written() -> None:
    model = """
    a = dense(alice.x0, 1)
    logit = a + dense(bob.x0, 1) + sum(embed(alice.features, dim = 1)) + dense(carol.x0, 1)
    """
    text = one_table(model, 3)
    assert floats(compiled(text)) == {"alice": 1, "bob": 1}
    protected = compiled(text + "protect a with gaussian(clip = 1.0, noise = 0.5)\n")
    assert floats(protected) == {"alice": 2, "bob": 1}
    assert [guard.before for guard in protected.model.guards] == [("a",)]
