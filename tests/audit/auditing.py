"""Recorded runs of small specs with a planted signal, for the tests of the audit."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from granting import granted
from vflc_runtime.audit import learn, refute, run
from vflc_runtime.audit.labels import FEATURE_ATTACKS, LABEL_ATTACKS
from vflc_runtime.run.train import TrainOptions, train
from vflc_runtime.run.transcript import RecordingLength

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.emit.bundle import Bundle

PARTIES = """
party alice {
  key ID
  feature x{1..4}: float
  feature City: string -> vocab("a", "b", "c")
}

party bob {
  key ID
  feature z: float
  column  score: float
  label   y = score > SHARE
  label   level = score
  label   grade: int -> index(4)
}
"""
TRAIN = """
train {
  optimizer adam(lr = 0.01)
  batch     64
}
"""
LINEAR = """
h     = dense(concat(alice.x1, alice.x2, alice.x3, alice.x4), 6)
logit = dense(concat(h, bob.z), 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
"""
"""Affine all the way: the label leaks exactly, and the features can be solved for."""
DEEP = """
h     = relu(dense(relu(dense(concat(alice.x1, alice.x2, alice.x3, alice.x4), 16)), 4))
t     = dense(concat(h, bob.z), 16) at bob
logit = dense(relu(t), 1)
predict y = sigmoid(logit)
objective bce(logit, bob.y)
"""
CLASSES = """
h      = dense(concat(alice.x1, alice.x2, alice.x3, alice.x4), 6)
logits = dense(concat(h, bob.z), 4) at bob
predict grade = softmax(logits)
objective cce(logits, bob.grade)
"""
NUMBER = """
h     = dense(concat(alice.x1, alice.x2, alice.x3, alice.x4), 6)
level = dense(concat(h, bob.z), 1) at bob
predict level = level
objective mse(level, bob.level)
"""


def spec(body: str, share: float = 0.0) -> str:
    """A whole spec; `share` is the score from which on a row is positive."""
    return PARTIES.replace("SHARE", str(share)) + body + TRAIN


def protected(body: str, mechanism: str, share: float = 0.0) -> str:
    """The same with a mechanism, and with the AUC measured; batches large enough to measure a leak by."""
    text = spec(body + mechanism + "\n", share)
    return text.replace("batch     64", "batch     750\n  metrics   auc")


def tables(rows: int, seed: int = 0) -> dict[str, Any]:
    """Tables that fit `PARTIES`: a score from all columns and as much noise."""
    rng = np.random.default_rng(seed)
    x, z, city = rng.normal(size=(rows, 4)), rng.normal(size=rows), rng.integers(0, 3, rows)
    score = x @ np.array([1.0, -0.5, 0.3, 0.2]) + z + 0.5 * (city - 1) + rng.normal(size=rows)
    grade = np.digitize(score, [-1.5, 0.0, 1.5])
    keys = [f"k{i:06}" for i in range(rows)]
    alice = {"ID": keys, "City": ["abc"[c] for c in city], **{f"x{i + 1}": x[:, i] for i in range(4)}}
    return {"alice": pa.table(alice), "bob": pa.table({"ID": keys, "z": z, "score": score, "grade": grade})}


@lru_cache(maxsize=8)
def compiled(text: str) -> Bundle:
    """Tests of several runs are of one spec."""
    return compile_source(SourceText("planted.vfl", text))


def recorded(text: str, sources: dict[str, Any], out: Path, epochs: int = 1, **options: Any) -> Path:
    """Compiles, trains and records; the run's folder."""
    compiled(granted(text)).write(out / "bundle")
    record = RecordingLength(epochs, epochs=True)
    given = TrainOptions(epochs=epochs, threads=1, record=record, **options)
    return train(out / "bundle", sources, out / "run", given).folder


def untaught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of an audit are made and not taught, for tests that look at nothing of what they find."""
    monkeypatch.setattr(learn, "STEPS", 1)


def only(monkeypatch: pytest.MonkeyPatch, *keys: str, taught: bool = False) -> None:
    """Audits and tests of bounds have these attacks on labels, and none by batches on features.

    For tests of what one attack makes of a run: all of them together take ten times as long. Networks
    of the others are taught where a test looks at what they find.
    """
    if not taught:
        untaught(monkeypatch)
    few = tuple(attack for attack in LABEL_ATTACKS if attack.key in keys)
    assert {attack.key for attack in few} == set(keys)
    for module in (refute, run):
        monkeypatch.setattr(module, "LABEL_ATTACKS", few)
    monkeypatch.setattr(run, "FEATURE_ATTACKS", dict.fromkeys(FEATURE_ATTACKS, ()))
