"""Training steps in memory against a plain numpy reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import handmade
import numpy as np
import pytest
from vflc_runtime.errors import Failure
from vflc_runtime.run.session import Session


class Reference:
    """The model of `handmade` in float64 numpy, with momentum; one dictionary entry a table row."""

    def __init__(self, weights: dict[str, Any], clip: float | None = None) -> None:
        self.clip = clip
        self.w = {name: value.astype(np.float64) for name, value in weights.items()}
        self.w["b.table"] = np.concatenate([self.w.pop("b.first"), self.w.pop("b.second")])
        self.m = {name: np.zeros_like(value) for name, value in self.w.items()}
        self.steps = 0

    def forward(self, inputs: dict[str, Any]) -> Any:
        w, u, m = self.w, inputs["alice.u"], inputs["bob.m"]
        v = w["a.table"][u] + inputs["alice.x"] * w["a.w"]
        self.joined = v + (w["b.table"][np.maximum(m, 0)] * (m >= 0)[..., None]).sum(1)
        return self.joined @ w["b.w"] + w["b.b"]

    def step(self, inputs: dict[str, Any]) -> float:
        self.steps += 1
        y, w = inputs["bob.y"].astype(np.float64), self.w
        logit = self.forward(inputs)
        loss = np.mean(np.logaddexp(0, logit) - logit * y) + 0.01 * np.sum(w["b.w"] ** 2)
        error = (1 / (1 + np.exp(-logit)) - y) / len(y)
        down = error @ w["b.w"].T
        self.rows("a.table", inputs["alice.u"], down)
        sets = inputs["bob.m"]
        self.rows("b.table", sets.ravel(), np.repeat(down, sets.shape[1], 0))
        dense = {
            "a.w": (down * inputs["alice.x"]).sum(0, keepdims=True),
            "b.w": self.joined.T @ error + 0.02 * w["b.w"],
            "b.b": error.sum(0),
        }
        w["b.mean"] = 0.9 * w["b.mean"] + logit.mean(0)
        for name, gradient in dense.items():
            self.apply(name, ..., self.clipped(gradient))
        return float(loss)

    def rows(self, name: str, ids: Any, gradients: Any) -> None:
        sums: dict[int, Any] = {}
        for row, gradient in zip(ids.tolist(), gradients, strict=True):
            if row >= 0:
                sums[row] = sums.get(row, 0.0) + gradient
        tables = [range(20), range(20, 30)] if name == "b.table" else [range(handmade.USERS)]
        for table in tables:
            own = [row for row in sums if row in table]
            if own:
                self.apply(name, own, self.clipped(np.stack([sums[row] for row in own])))

    def clipped(self, gradient: Any) -> Any:
        norm = np.sqrt((gradient**2).sum())
        return gradient if self.clip is None or norm <= self.clip else gradient * (self.clip / norm)

    def apply(self, name: str, where: Any, gradient: Any) -> None:
        self.m[name][where] = 0.9 * self.m[name][where] + gradient
        self.w[name][where] -= 0.5 / np.sqrt(self.steps) * self.m[name][where]

    def weights(self) -> dict[str, Any]:
        named = dict(self.w)
        table = named.pop("b.table")
        return {**named, "b.first": table[:20], "b.second": table[20:]}


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_training_equals_a_plain_reference(
    tmp_path: Path, precision: str, tolerance: float, split: bool, clip: float | None
) -> None:
    session = Session(handmade.write_bundle(tmp_path, precision, split, clip_norm=clip))
    reference = Reference(session.weights(), clip)
    generator = np.random.default_rng(1)
    for rows in (16, 16, 5, 1, 40):
        inputs = handmade.batch(generator, rows, precision)
        assert session.step(inputs).loss == pytest.approx(reference.step(inputs), abs=tolerance)
    found, expected = session.weights(), reference.weights()
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=tolerance, err_msg=name)
    inputs = handmade.batch(generator, 7, precision)
    logit = reference.forward(inputs)
    np.testing.assert_allclose(
        session.evaluate(inputs).predictions["y"], 1 / (1 + np.exp(-logit)), atol=tolerance
    )
    del inputs["bob.y"]
    np.testing.assert_allclose(session.predict(inputs)["y"], 1 / (1 + np.exp(-logit)), atol=tolerance)


def test_split_and_unsplit_end_with_the_same_bits(tmp_path: Path) -> None:
    sessions = [
        Session(handmade.write_bundle(tmp_path / str(split), "float32", split, dropout=True))
        for split in (True, False)
    ]
    generator = np.random.default_rng(2)
    for _ in range(5):
        inputs = handmade.batch(generator, 12)
        first, second = (session.step(inputs).loss for session in sessions)
        assert first == second
    first_weights, second_weights = (session.weights() for session in sessions)
    for name, value in first_weights.items():
        np.testing.assert_array_equal(value, second_weights[name], err_msg=name)


def test_bytes_are_counted_by_edge(tmp_path: Path) -> None:
    session = Session(handmade.write_bundle(tmp_path))
    generator = np.random.default_rng(3)
    session.step(handmade.batch(generator, 10))
    session.evaluate(handmade.batch(generator, 4))
    assert session.sent() == {"a.v": 14 * 2 * 4, "gradient.a.v": 10 * 2 * 4}


def test_a_step_with_no_ids_at_all(tmp_path: Path) -> None:
    session = Session(handmade.write_bundle(tmp_path))
    inputs = handmade.batch(np.random.default_rng(4), 6)
    inputs["bob.m"] = np.full((6, 1), -1, np.int32)
    before = session.weights()
    session.step(inputs)
    np.testing.assert_array_equal(before["b.first"], session.weights()["b.first"])
    inputs["bob.m"] = np.empty((6, 0), np.int32)
    session.step(inputs)


def test_an_id_outside_its_table_is_a_failure(tmp_path: Path) -> None:
    session = Session(handmade.write_bundle(tmp_path))
    inputs = handmade.batch(np.random.default_rng(5), 6)
    inputs["alice.u"][2] = handmade.USERS
    with pytest.raises(Failure) as caught:
        session.step(inputs)
    assert caught.value.code == "VFL0613"


def test_unknown_engine(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no engine 'abacus'"):
        Session(handmade.write_bundle(tmp_path), engine="abacus")
