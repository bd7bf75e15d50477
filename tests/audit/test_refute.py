"""Bounds put to the test: those that hold are never refuted, and those that do not are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit.auditing import CLASSES, LINEAR, only, protected, spec, tables
from compiler.random_specs import specs
from granting import granted
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from learn.learn_specs import learn_specs
from vflc_runtime.audit import bounds
from vflc_runtime.audit.draws import Unit, drawn, units
from vflc_runtime.audit.refute import RISK, refute
from vflc_runtime.audit.report import BoundTest
from vflc_runtime.audit.tails import posterior, tail
from vflc_runtime.audit.targets import target
from vflc_runtime.bundle.folder import Bundle, open_bundle
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.protect import spending
from vflc_runtime.run import loading

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

ROWS, STEPS = 1200, 40
FROZEN = LINEAR.replace("h     = dense", "h     = stop_gradient(dense").replace(", 6)\nlogit", ", 6))\nlogit")
SETTINGS = {"seed": 0, "validation": 0.1, "fold": 0, "batch": 64, "shuffle": True, "epochs": 3}


def opened(text: str, folder: Path) -> Bundle:
    compile_source(SourceText("planted.vfl", granted(text))).write(folder)
    return open_bundle(folder)


def tried(bundle: Bundle, data: Dataset, **options: Any) -> dict[tuple[str, str], BoundTest]:
    found = refute(bundle, data, SETTINGS, STEPS, threads=1, **options)
    return {(trial.party, trial.secret): trial for trial in found}


def planted(text: str, folder: Path, **bound: Any) -> dict[tuple[str, str], BoundTest]:
    """Trials of a planted model, of which alice is said to learn this much of the label."""
    bundle = opened(text, folder)
    if bound:
        for row in bundle.manifest.document["learned"]:
            if (row["receiver"], row["column"]) == ("alice", "score"):
                row["bound"] = bound
    data = loading.load_training(bundle, tables(ROWS), SETTINGS, None, lambda event: None)
    return tried(bundle, data, parties=("alice",))


def test_columns_that_go_with_a_label_refute_nothing(tmp_path: Path) -> None:
    """In the tables themselves alice's columns tell the label; as they are drawn they do not."""
    found = planted(spec(FROZEN), tmp_path)
    trial = found["alice", "bob.y"]
    assert trial.bound == "nothing" and not trial.refuted and trial.p > RISK
    assert trial.count > 300 and trial.right / trial.count < 0.65


def test_a_false_bound_is_refuted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "norm", "sign")
    for number, bound in enumerate(({"kind": "nothing"}, {"kind": "epsilon", "epsilon": 1.0, "delta": 0.0})):
        trial = planted(spec(LINEAR), tmp_path / str(number), **bound)["alice", "bob.y"]
        assert trial.refuted and trial.p < RISK and trial.right > 0.9 * trial.count
        assert "alice named" in trial.sentence and trial.bound in trial.sentence
    few = planted(spec(LINEAR), tmp_path / "delta", kind="epsilon", epsilon=1.0, delta=1e-3)
    assert not few["alice", "bob.y"].refuted, "so large a δ explains that all rows were read"


def test_what_randomised_response_tells_is_just_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = protected(LINEAR, "protect bob.y with label_dp(epsilon = 1.0)")
    assert not planted(text, tmp_path / "as it is")["alice", "bob.y"].refuted
    only(monkeypatch, "sign")
    assert planted(text, tmp_path / "nothing", kind="nothing")["alice", "bob.y"].refuted


def test_a_code_bounds_what_is_finer_than_it(tmp_path: Path) -> None:
    """The grade has two bits: all of them, where one is the bound, are too many."""
    bundle = opened(spec(CLASSES), tmp_path)
    data = loading.load_training(bundle, tables(ROWS), SETTINGS, None, lambda event: None)
    assert ("alice", "bob.grade") not in tried(bundle, data), "what is all of the code refutes nothing"
    for row in bundle.manifest.document["learned"]:
        if (row["receiver"], row["column"]) == ("alice", "grade"):
            assert row["bound"] == {"kind": "code", "bits": 2.0}
            row["bound"]["bits"] = 1.0
    trial = tried(bundle, data)["alice", "bob.grade"]
    shares = np.sort(np.bincount(data.inputs["bob.grade"].reshape(-1)) / ROWS)
    assert trial.most == pytest.approx(shares[-2:].sum()) and trial.refuted


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.one_of(learn_specs(), specs()), seed=st.integers(0, 2**32 - 1))
def test_no_bound_of_a_random_spec_is_exceeded(text: str, seed: int, tmp_path_factory: Any) -> None:
    from learn.test_noninterference import _encoders, batch

    folder = tmp_path_factory.mktemp("refute")
    bundle = compile_source(SourceText("random.vfl", text))
    bundle.write(folder)
    inputs = batch(_encoders(bundle.files), 200, seed)
    data = Dataset(200, inputs, None, {}, {})
    found = refute(open_bundle(folder), data, {**SETTINGS, "batch": 40}, 10, threads=1)
    event(f"trials: {min(len(found), 3)}")
    assert not [trial for trial in found if trial.refuted], text


@given(st.integers(0, 12), st.floats(0, 1), st.integers(0, 13))
def test_the_tail_of_a_binomial_number(count: int, share: float, hits: int) -> None:
    summed = sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(hits, count + 1))
    assert tail(count, share, hits) == pytest.approx(min(summed, 1.0), abs=1e-12)


def test_posteriors() -> None:
    assert posterior(0.3, 0.0) == pytest.approx(0.3)
    assert posterior(0.5, 1.0) == pytest.approx(math.e / (1 + math.e))
    assert posterior(0.2, 1000.0) == 1.0 == posterior(1.0, 0.0)
    assert tail(100_000, 0.5, 52_000) < 1e-30


def test_columns_that_a_feature_joins_are_drawn_as_one() -> None:
    def row(party: str, column: str, *features: str) -> dict[str, Any]:
        return {"party": party, "column": column, "features": list(features)}

    learned = [row("bob", "a", "x"), row("bob", "b", "x", "y"), row("bob", "c", "z"), row("al", "a", "x")]
    found = units(learned, ["bob.x", "al.x", "bob.z", "bob.y", "bob.unknown"])
    assert found == (
        Unit("bob", ("a", "b"), ("bob.x", "bob.y")), Unit("al", ("a",), ("al.x",)),
        Unit("bob", ("c",), ("bob.z",)), Unit("bob", (), ("bob.unknown",)),
    )  # fmt: skip
    numbers = np.arange(1000)
    inputs = {name: numbers.copy() for unit in found for name in unit.inputs}
    data = drawn(Dataset(1000, inputs, None, {}, {}), found, np.random.default_rng(0))
    assert np.array_equal(data.inputs["bob.x"], data.inputs["bob.y"])
    assert not np.array_equal(data.inputs["bob.x"], data.inputs["bob.z"])
    assert len(np.unique(data.inputs["bob.z"])) < 700, "with replacement"


def test_bounds_of_several_columns_add_up() -> None:
    def row(column: str, **bound: Any) -> dict[str, Any]:
        return {"receiver": "alice", "party": "bob", "column": column, "bound": bound, "features": []}

    learned = [
        row("n", kind="nothing"), row("e", kind="epsilon", epsilon=1.0, delta=1e-6),
        row("f", kind="epsilon", epsilon=2.0, delta=0.0), row("g", kind="epsilon", epsilon=None, delta=0.0),
        row("c", kind="code", bits=1.0), row("d", kind="code", bits=2.0), row("a", kind="all"),
    ]  # fmt: skip

    def of(*columns: str) -> Any:
        found = bounds.of_unit(learned, "alice", Unit("bob", columns, ()))
        return found and (found.epsilon, found.delta, found.bits)

    assert of("n") == (0, 0, None) and of("n", "e", "f") == (3.0, 1e-6, None)
    assert of("c", "d", "n") == (0, 0, 3.0)
    for open_ in (("a",), ("n", "a"), ("g",), ("c", "e"), ()):
        assert of(*open_) is None


def test_targets() -> None:
    numbers = np.array([[0.0], [1.0], [2.0], [3.0]])
    found = target("a.x", numbers[::-1], numbers)
    assert (
        found is not None and found.classes.tolist() == [1, 1, 0, 0] and found.shares.tolist() == [0.5, 0.5]
    )
    assert target("a.x", np.ones((4, 1)), np.ones((4, 1))) is None
    most = np.array([[1.0], [1.0], [1.0], [0.5], [0.0]])
    high = target("a.x", most, most)
    assert high is not None and high.classes.tolist() == [1, 1, 1, 0, 0]
    many = np.array([[1, 2], [2, -1], [3, 2], [4, -1]], np.int32)
    several = target("a.m", many, many)
    assert several is not None and several.classes.tolist() == [1, 1, 1, 0]
    wide = np.arange(100, dtype=np.int32) // 2
    rest = target("a.c", wide, wide)
    assert rest is not None and len(rest.shares) == 21 and rest.shares[-1] == pytest.approx(0.6)


def test_labels_drawn_once_hold_their_bound_over_several_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven runs have the answers of the first. Were they drawn anew each time, a vote would find more."""
    only(monkeypatch, "sign", "consensus")
    bundle = opened(protected(LINEAR, "protect bob.y with label_dp(epsilon = 1.0)"), tmp_path)
    data = loading.load_training(bundle, tables(ROWS), SETTINGS, None, lambda event: None)
    alone, seven = (tried(bundle, data, parties=("alice",), runs=runs)["alice", "bob.y"] for runs in (1, 7))
    assert alone.bound == seven.bound == "ε = 1"
    assert not alone.refuted and not seven.refuted
    monkeypatch.setattr(spending, "drawn", lambda *given: {})
    anew = tried(bundle, data, parties=("alice",), runs=7)["alice", "bob.y"]
    assert anew.refuted and anew.right / anew.count > 0.85


def test_noise_of_several_runs_costs_what_a_ledger_adds_up(tmp_path: Path) -> None:
    text = LINEAR.replace("concat(alice.x1, alice.x2, alice.x3, alice.x4), 6)", "alice.x1, 6)")
    text = text.replace("h     = dense(alice.x1, 6)", "h     = stop_gradient(dense(alice.x1, 6))")
    bundle = opened(
        protected(text, "protect h with gaussian(clip = 1.0, epsilon = 1, delta = 1e-6)"), tmp_path
    )
    data = loading.load_training(bundle, tables(ROWS), SETTINGS, None, lambda event: None)
    bounds_of = {}
    for runs in (1, 3):
        trial = tried(bundle, data, parties=("bob",), runs=runs)["bob", "alice.x1"]
        bounds_of[runs] = trial.bound
        assert not trial.refuted
    assert bounds_of[1].startswith("ε = 1") and "δ = 1e-06" in bounds_of[1]
    spent = float(bounds_of[3].split("=")[1].split()[0].rstrip(","))
    assert 1.2 < spent < 3, "less than three times that of one, as Gaussians add up"
