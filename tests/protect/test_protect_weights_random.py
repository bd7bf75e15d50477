"""`dp_sgd` on random specs: a clip that no row reaches changes nothing, and one that all reach is kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiler.random_specs import batch, specs
from granting import granted
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from learn.learn_specs import learn_specs
from test_protect_weights import Silent, length
from vflc_runtime.protect.account import Facts
from vflc_runtime.run.session import Session

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source
from vflc.emit.bundle import Bundle

ROWS = 6
TRAIN = "train { optimizer sgd(lr = 1.0) }"


def moved(bundle: Bundle, folder: Path, place: str) -> dict[str, np.ndarray[Any, Any]]:
    """What a step without noise takes off each weight of a place that learns, which is at the rate 1.

    Running statistics of `batch_norm` follow the rows themselves; `dp_sgd` has no part in them.
    """
    bundle.write(folder)
    session = Session(folder, seed=3, threads=1)
    session.prepare(Facts(ROWS, ROWS, ROWS, 1))
    session.guards()[place]._noise = Silent()  # type: ignore[assignment]
    before = {name: np.array(weight) for name, weight in session.weights_by_place()[place].items()}
    found = [json.loads(data) for name, data in bundle.files.items() if name.endswith("/encoders.json")]
    encoders = {"parties": {name: table for each in found for name, table in each["parties"].items()}}
    session.step(batch(encoders, ROWS, 1))
    after = session.weights_by_place()[place]
    kept = {weight for weight, _ in bundle.model.assigns}
    return {name: before[name] - after[name] for name in before if name not in kept}


STATISTICS = """
party alice {
  key ID
  feature x: float
}
party bob {
  key ID
  column  Rating: float
  label   liked = Rating > 0
}
alice_low = batch_norm(dense(alice.x, 3))
alice_out = stop_gradient(alice_low)
alice_more = dense(alice.x, 2)
logit = dense(concat(alice_out, alice_more), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train { optimizer sgd(lr = 1.0) }
release alice { to bob: x }
release bob { to alice: liked }
"""


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@example(text=STATISTICS, chance=0)
@given(text=learn_specs() | specs(parties=2), chance=st.integers(0, 2))
def test_the_parts_add_up_to_the_gradient_and_none_is_longer_than_the_clip(
    text: str, chance: int, tmp_path_factory: Any
) -> None:
    text = re.sub(r"train \{.*?\n?\}\n", TRAIN + "\n", text, flags=re.DOTALL)
    plain = compile_source(SourceText("random.vfl", text), precision="float64")
    folder = tmp_path_factory.mktemp("weights")
    places = sorted({str(node.place) for node in plain.model.graph if node.op == "weight"})
    place = places[chance % len(places)]
    made = []
    for clip in (1e9, 1e-4):
        protect = f"protect weights at {place} with dp_sgd(clip = {clip}, noise = 1.0)\n"
        try:
            made.append(
                compile_source(SourceText("random.vfl", granted(text + protect)), precision="float64")
            )
        except Refused as refused:
            (code,) = {each.code for each in refused.diagnostics if each.level == "error"}
            event(code)
            assert code in ("VFL0345", "VFL0346"), refused
            return
    event("protected")
    wide, narrow = (moved(each, folder / f"{index}", place) for index, each in enumerate(made))
    for name, gradient in moved(plain, folder / "plain", place).items():
        assert wide[name] == pytest.approx(gradient, rel=1e-9, abs=1e-12), (name, text)
    if "l1(" not in text and "l2(" not in text:  # a penalty is added to what is clipped
        assert length(narrow) <= 1e-4, text
