"""What an export is compiled with: Keras makes it of the data that stands in the bundle."""

from __future__ import annotations

import pytest
from granting import granted
from keras_testing import needs_tensorflow

from vflc.diagnostics import SourceText
from vflc.driver import unsplit_source
from vflc.emit.compiled import _optimizer
from vflc.ops.optimizers import OPTIMIZERS

SPEC = """
party a { key ID
  feature x: float
  label y: int }
logit = dense(a.x, 1)
predict y = sigmoid(logit)
objective bce(logit, a.y)
"""
TO_ZERO = ("cosine(0.1, 10)", "warmup(0.1, 4)")
"""Rates that reach 0, which FTRL refuses."""
RATES = {
    "0.1": 0.1,
    "cosine(0.1, 10)": 0.1,
    "cosine(0.1, 10, alpha = 0.2)": 0.1,
    "step(0.1, every = 5)": 0.1,
    "warmup(0.1, 4)": 0.1,
}


@needs_tensorflow
@pytest.mark.parametrize(
    ("rule", "rate"),
    [(rule, rate) for rule in OPTIMIZERS.ours for rate in RATES if rule != "ftrl" or rate not in TO_ZERO],
)
def test_keras_makes_every_optimizer_with_every_rate(rule: str, rate: str) -> None:
    import keras

    text = granted(f"{SPEC}train {{ optimizer {rule}(lr = {rate})  clip_norm 0.5 }}")
    data = _optimizer(unsplit_source(SourceText("m.vfl", text)))
    made = keras.saving.deserialize_keras_object({**data, "registered_name": None})
    first = made.learning_rate
    assert made.clipnorm == 0.5 and type(made).__name__.lower() == rule
    assert float(first(0) if callable(first) else first) == pytest.approx(RATES[rate])
