"""The noised example against an attack that found every label of an earlier version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from vflc_runtime.protect.account import Facts
from vflc_runtime.run.session import Session
from vflc_runtime.transport import messages as messages

from vflc.driver import compile_spec

SPEC = Path(__file__).parents[2] / "specs" / "deepfm_noised" / "deepfm_noised.vfl"
IDS = {"UserID": 6041, "Gender": 2, "Age": 7, "Occupation": 21, "MovieID": 3953}
ROWS, STEPS = 1024, 4


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    above = (scores[labels][:, None] > scores[~labels]).mean()
    found = above + (scores[labels][:, None] == scores[~labels]).mean() / 2
    return float(max(found, 1 - found))


def test_a_combination_in_which_gradients_have_nothing_tells_nothing(tmp_path: Path) -> None:
    """`a.v2.gradient + ½·a.first.gradient` is 0 for every row: what is there is noise or rounding."""
    compile_spec(SPEC).write(tmp_path / "bundle")
    heard: list[messages.Envelope] = []
    session = Session(tmp_path / "bundle", seed=1, threads=1, listen=heard.append)
    session.prepare(Facts(rows=ROWS, train_rows=ROWS, batch=ROWS, epochs=1, steps=None))
    draw = np.random.default_rng()
    found = []
    for _ in range(STEPS):
        inputs = {f"alice.{name}": draw.integers(0, IDS[name], ROWS).astype(np.int32) for name in IDS}
        inputs["bob.MovieID"] = inputs.pop("alice.MovieID")
        inputs["bob.Genres"] = draw.integers(-1, 18, (ROWS, 4)).astype(np.int32)
        labels = draw.random(ROWS) < 0.4
        inputs["bob.liked"] = labels.astype(np.float32)[:, None]
        heard.clear()
        session.step(inputs, indices=np.arange(ROWS))
        sent = {name: np.asarray(value) for each in heard for name, value in each.tensors.items()}
        nothing = sent["a.v2.gradient.protected"] + 0.5 * sent["a.first.gradient.protected"]
        found.append(auc(np.abs(nothing.ravel()), labels))
    # by chance alone: standard deviation of an AUC of 410 and 614 rows, √((m + n + 1) / (12·m·n)) = .018
    assert np.mean(found) < 0.5 + 0.05, found
