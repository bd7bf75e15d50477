"""Split training equals unsplit training, on random specs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from compiler.random_specs import batch, specs
from hypothesis import HealthCheck, given, settings, target
from vflc_runtime.session import Session

from vflc.diagnostics import Source
from vflc.driver import compile_source

STEPS, ROWS = 4, 7


def trained(
    text: str, folder: Path, unsplit: bool, batches: list[dict[str, Any]]
) -> tuple[Session, list[float]]:
    """A session after some updates in float64, and the losses on the way."""
    bundle = compile_source(Source("random.vfl", text), precision="float64", unsplit=unsplit)
    bundle.write(folder)
    session = Session(folder, seed=3, threads=1)
    return session, [session.step(inputs).loss for inputs in batches]


def encoders_of(text: str) -> dict[str, Any]:
    bundle = compile_source(Source("random.vfl", text), precision="float64", unsplit=True)
    data: dict[str, Any] = json.loads(bundle.files["unsplit/encoders.json"])
    return data


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=specs())
def test_split_equals_unsplit(text: str, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("split")
    encoders = encoders_of(text)
    batches = [batch(encoders, ROWS, seed) for seed in range(STEPS)]
    split, losses = trained(text, folder / "split", False, batches)
    whole, expected = trained(text, folder / "whole", True, batches)
    np.testing.assert_allclose(losses, expected, rtol=1e-9, atol=1e-9)
    ours, theirs = split.weights(), whole.weights()
    assert ours.keys() == theirs.keys()
    worst = max(float(np.abs(ours[name] - theirs[name]).max(initial=0)) for name in ours)
    target(worst)
    assert worst < 1e-9
    inputs = batch(encoders, ROWS, 99)
    np.testing.assert_allclose(split.predict(inputs)["y"], whole.predict(inputs)["y"], rtol=0, atol=1e-9)
