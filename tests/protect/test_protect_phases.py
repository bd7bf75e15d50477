"""Noise on an activation in all phases: its own in every message, counted, and limited on request."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from party.partying import TIMEOUT, exchange, site, together, train_together
from protecting import TWO, Recorded, batch, bundle, found
from protecting import rows as rows_of_all
from signing import sign
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.errors import Failure
from vflc_runtime.export.run import export
from vflc_runtime.party.apply import predict_party
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.predict import predict
from vflc_runtime.run.session import Session
from vflc_runtime.run.train import TrainOptions, train

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.ops.mechanisms.gaussian import PASSES

FROZEN = TWO.replace("h = mlp(", "h = stop_gradient(mlp(").replace("= tanh)", "= tanh))")
FROZEN = FROZEN.replace("concat(dense(h, 4), g, bob.Item)", "concat(dense(h, 4), bob.Item)")
FROZEN = FROZEN.replace("g = dense(concat(alice.Age, alice.Income), 2)\n", "")
EVERYWHERE = FROZEN + "protect h with gaussian(clip = 1.0, epsilon = 8, delta = 1e-5)\n"


def rows(count: int) -> dict[str, Any]:
    return {party: table for party, table in rows_of_all(count).items() if party != "carol"}


def engines_of(engine: str) -> dict[str, Any]:
    return {"backends": ("onnx", "keras") if engine == "keras" else ("onnx",)}


class Heard:
    """Every noisy message of the sessions that follow, and how many rows were in them, by program."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: Counter[str] = Counter()
        self.sent: dict[str, list[np.ndarray]] = {}
        original = Session.__init__

        def init(session: Session, *args: Any, **changed: Any) -> None:
            names = ("bundle", "engine", "seed", "threads", "programs", "listen", "transport")
            given = {**dict(zip(names, args, strict=False)), **changed, "listen": self._note}
            original(session, **given)

        monkeypatch.setattr(Session, "__init__", init)

    def _note(self, envelope: Any) -> None:
        tensor = envelope.tensors.get("h.protected")
        if tensor is not None:
            self.rows[envelope.program] += len(tensor)
            self.sent.setdefault(envelope.program, []).append(tensor.copy())


def test_every_message_of_every_phase_has_noise_of_its_own(tmp_path):
    text = FROZEN + "protect h with gaussian(clip = 0.5, noise = 2.0)\n"
    at = Recorded(bundle(text, tmp_path / "b"))
    inputs, messages = batch(2000), []
    for go in (at.session.evaluate, at.session.evaluate, at.session.predict, at.session.predict, at.step):
        program = {"evaluate": "evaluate", "predict": "predict"}.get(go.__name__, "train")
        go(inputs)
        messages.append(at.sent[program, "h.protected"].astype(np.float64))
    clean = np.mean(messages, axis=0)
    for one in range(5):
        assert abs((messages[one] - clean).std() - math.sqrt(0.8)) < 0.03, "noise of deviation 1 in each"
        for other in range(one):
            apart = messages[one] - messages[other]  # the bottom is frozen: nothing but noise is left
            assert abs(apart.std() - math.sqrt(2)) < 0.05, "no two share a draw"


def test_a_run_sends_no_row_more_often_than_its_epsilon_is_for(tmp_path, monkeypatch):
    """Training rows once an epoch, validation rows once a validation, all rows once a pass."""
    folder, tables = bundle(EVERYWHERE, tmp_path / "b"), rows(100)
    heard = Heard(monkeypatch)
    options = TrainOptions(threads=1, validation=0.2, steps=7)  # the third epoch ends after one step
    metrics = train(folder, tables, tmp_path / "run", options).metrics
    assert metrics["epochs"] == 2
    assert heard.rows == {"train": 2 * 80 + 32, "evaluate": 3 * 20}
    evaluate(tmp_path / "run", tables)
    predict(tmp_path / "run", tables, tmp_path / "out.csv")
    assert heard.rows["evaluate"] == 3 * 20 + 100 and heard.rows["predict"] == 100
    (entry,) = metrics["protections"]
    # A second accounting: any two Gaussians apart by 2 · clip, once for each message, are one of μ = 2√n/σ.
    most = 3 + PASSES
    assert entry["epsilon"] == pytest.approx(8, rel=1e-6)
    assert entry["epsilon"] == pytest.approx(again(entry["noise"], most), rel=1e-4)
    assert entry["epsilon_training"] == pytest.approx(again(entry["noise"], 3), rel=1e-4)
    assert entry["epsilon_pass"] == pytest.approx(again(entry["noise"], 1), rel=1e-4)


def again(noise: float, messages: int, delta: float = 1e-5) -> float:
    """ε of the trade-off curve itself: the largest slope at which δ is exceeded (Dong, Roth & Su 2022)."""
    normal, mu = NormalDist(), 2 * math.sqrt(messages) / noise
    thresholds = np.linspace(-12, 12 + mu, 200_001)
    upper = np.array([1 - normal.cdf(t - mu) for t in thresholds[::100]])
    lower = np.array([1 - normal.cdf(t) for t in thresholds[::100]])
    low, high = 0.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (upper - math.exp(middle) * lower).max() > delta else (low, middle)
    return high


@pytest.mark.parametrize("engine", ["onnx", "keras"])
def test_evaluation_and_prediction_of_a_run_have_the_noise_of_the_run(engine, tmp_path, monkeypatch):
    folder, tables = bundle(EVERYWHERE, tmp_path / "b", **engines_of(engine)), rows(600)
    options = TrainOptions(threads=1, engine=engine, epochs=1)
    (entry,) = train(folder, tables, tmp_path / "run", options).metrics["protections"]
    heard = Heard(monkeypatch)
    for number in range(2):
        evaluate(tmp_path / "run", tables, engine)
        predict(tmp_path / "run", tables, tmp_path / f"{number}.csv", engine)
    for program in ("evaluate", "predict"):
        one, two = heard.sent[program]
        assert abs((one - two).std() / (entry["noise"] * math.sqrt(2)) - 1) < 0.05, program


def test_without_the_noise_that_a_run_has_found_nothing_is_sent(tmp_path):
    folder, tables = bundle(EVERYWHERE, tmp_path / "b"), rows(64)
    train(folder, tables, tmp_path / "run", TrainOptions(threads=1, epochs=1))
    (tmp_path / "run" / "alice" / "protections.safetensors").unlink()
    with pytest.raises(Failure, match="VFL0621"):
        evaluate(tmp_path / "run", tables)
    with pytest.raises(Failure, match="VFL0621"):
        predict(tmp_path / "run", tables, tmp_path / "out.csv")


def test_passes_are_counted_and_cost_noise(tmp_path):
    noise = []
    for passes in (0, 2, 12):
        text = FROZEN + f"protect h with gaussian(clip = 1.0, epsilon = 8, passes = {passes})\n"
        folder = bundle(text, tmp_path / f"b{passes}")
        metrics = train(folder, rows(64), tmp_path / f"r{passes}", TrainOptions(threads=1)).metrics
        noise.append(metrics["protections"][0]["noise"])
    assert noise[1] / noise[0] == pytest.approx(math.sqrt(5 / 3), rel=1e-6)
    assert noise[2] / noise[0] == pytest.approx(math.sqrt(15 / 3), rel=1e-6)


def learned(text: str) -> dict[str, Any]:
    """The bounds of alice's columns at bob, without grants to compare with."""
    model = compile_source(SourceText("test.vfl", text)).model
    learned = model.disclosed.learned
    return {row.column: row.bound for row in learned if (row.receiver, row.party) == ("bob", "alice")}


def test_noise_in_all_phases_bounds_a_frozen_bottom_and_limited_noise_does_not():
    bound = learned(EVERYWHERE)["Age"]
    assert (bound.kind, bound.epsilon, bound.delta) == ("epsilon", 8, 1e-5)
    assert learned(EVERYWHERE.replace("1e-5)", "1e-5) in training"))["Age"].kind == "all"


def test_a_grant_for_training_holds_of_limited_noise():
    limited = EVERYWHERE.replace("1e-5)", "1e-5) in training")
    split = "Age at most epsilon 8 in training, Age in evaluation, Age in prediction, Income"
    learned(limited.replace("to bob: Age, Income", f"to bob: {split}"))
    from vflc.diagnostics import Refused

    with pytest.raises(Refused, match="VFL0340"):
        learned(limited.replace("to bob: Age, Income", "to bob: Age at most epsilon 8, Income"))


@pytest.mark.parametrize(
    "clause",
    [
        "protect h with gaussian(clip = 1.0, noise = 2.0) in prediction",
        "protect h with gaussian(clip = 1.0, noise = 2.0) in someday",
        "protect h with gaussian(clip = 1.0, noise = 2.0, passes = 3) in training",
        "protect h with quantize(bits = 6) in training",
        "protect bob.liked with label_dp(epsilon = 2) in training",
        "protect weights at bob with dp_sgd(clip = 1.0, noise = 2.0) in training",
        "protect gradients to alice with gaussian(clip = 1.0, noise = 2.0, passes = 3)",
    ],
)
def test_phases_that_do_not_go_together_are_refused(clause):
    assert [each.code for each in found(TWO + clause + "\n")] == ["VFL0347"]


def test_a_number_of_passes_is_whole():
    for passes in ("-1", "0.5", "true", '"2"'):
        text = TWO + f"protect h with gaussian(clip = 1.0, noise = 2.0, passes = {passes})\n"
        assert [each.code for each in found(text)] == ["VFL0205"]


@pytest.mark.parametrize(
    "mechanism",
    [
        "gaussian(clip = 1.0, noise = 0)",
        "gaussian(clip = 1.0, noise = 1e-200)",
        "gaussian(clip = 1.0, noise = -2)",
        "gaussian(clip = 0, noise = 2.0)",
        "gaussian(clip = 1.0, epsilon = -8)",
        "gaussian(clip = 1.0, epsilon = 8, delta = 0)",
        "gaussian(clip = 1.0, epsilon = 8, delta = 1)",
    ],
)
def test_numbers_that_are_no_protection_are_refused(mechanism):
    assert [each.code for each in found(TWO + f"protect h with {mechanism}\n")] == ["VFL0205"]


def test_a_noise_that_is_nearly_none_spends_what_it_spends(tmp_path):
    text = FROZEN + "protect h with gaussian(clip = 1.0, noise = 1e-9)\n"
    options = TrainOptions(threads=1, epochs=1)
    (entry,) = train(bundle(text, tmp_path / "b"), rows(64), tmp_path / "run", options).metrics["protections"]
    assert entry["epsilon"] > 1e17


def test_a_declared_epsilon_is_compared_with_the_passes_too():
    text = FROZEN + "protect h with gaussian(clip = 1.0, noise = 4.0, epsilon = 5, passes = {})\n"
    assert not found(text.replace("{}", "0"))
    (refused,) = found(text.replace("{}", "20"))
    assert refused.code == "VFL0312" and "20 passes after training" in refused.message


@pytest.mark.parametrize("program", ["evaluate", "predict"])
def test_a_plan_that_leaves_noise_out_of_a_pass_is_damaged(program, tmp_path):
    folder = bundle(EVERYWHERE, tmp_path / "b")
    path = folder / "alice" / "plan.json"
    plan = json.loads(path.read_text())
    plan["programs"][program] = [step for step in plan["programs"][program] if step["do"] != "protect"]
    path.write_text(json.dumps(plan))
    sign(folder)
    with pytest.raises(Failure, match=f"VFL0613.*not every guard is one step of program '{program}'"):
        open_bundle(folder)


def test_a_model_that_needs_noise_is_not_exported(tmp_path):
    train(bundle(EVERYWHERE, tmp_path / "b"), rows(64), tmp_path / "run", TrainOptions(threads=1, epochs=1))
    with pytest.raises(Failure, match=r"VFL0683.*alice") as refused:
        export(tmp_path / "run", tmp_path / "exported")
    assert refused.value.where["text"].startswith("protect h") and not (tmp_path / "exported").exists()
    limited = EVERYWHERE.replace("1e-5)", "1e-5) in training")
    train(bundle(limited, tmp_path / "c"), rows(64), tmp_path / "bare", TrainOptions(threads=1, epochs=1))
    export(tmp_path / "bare", Path(tmp_path / "exported"))


def test_between_machines_predictions_have_the_noise_of_the_run(tmp_path):
    folder, tables = bundle(EVERYWHERE, tmp_path / "b"), rows(200)
    for result in train_together(folder, tables, tmp_path, TrainOptions(threads=1, epochs=1)).values():
        assert not isinstance(result, BaseException), result

    def predicted(name: str) -> np.ndarray:
        meeting, file = exchange(folder), tmp_path / name
        sites = {place: site(place, tables[place], meeting_of(meeting, place)) for place in tables}
        done = together({
            place: (lambda p=place: predict_party(tmp_path / p, sites[p], file if p == "bob" else None))
            for place in sites
        })  # fmt: skip
        assert all(isinstance(each, dict) for each in done.values()), done
        return np.loadtxt(file, delimiter=",", skiprows=1)[:, 1]

    one, two = predicted("one.csv"), predicted("two.csv")
    assert len(one) == 200 and (one != two).mean() > 0.95, "the noise of each pass is its own"


def meeting_of(meeting: Any, place: str) -> Any:
    return lambda manifest, count: meeting.join(place, TIMEOUT)
