"""Protections in a run: recorded, checked, resumed, and the same between machines as in one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from party.partying import train_together
from protecting import SUM, TWO, Recorded, batch, bundle, rows
from signing import sign
from vflc_runtime import files
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import Facts, calibrate
from vflc_runtime.protect.guards import Guards
from vflc_runtime.run.train import TrainOptions, train

ALL = TWO + (
    "protect h with gaussian(clip = 1.0, epsilon = 8, delta = 1e-5)\n"
    "protect g with quantize(bits = 6)\n"
    "protect bob.liked with label_dp(epsilon = 2)\n"
    "protect gradients to alice with iso(scale = 1.0)\n"
)


def sources(parties: tuple[str, ...] = ("alice", "bob")) -> dict[str, Any]:
    return {party: table for party, table in rows(100).items() if party in parties}


def run(folder: Path, out: Path, **options: Any) -> dict[str, Any]:
    return train(folder, sources(), out, TrainOptions(threads=1, **options)).metrics


def kept(out: Path, place: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    tensors, metadata = files.read_tensors(out / place / "protections.safetensors")
    return tensors, json.loads(metadata["settings"])


def test_metrics_say_what_was_applied(tmp_path):
    metrics = run(bundle(ALL, tmp_path / "b"), tmp_path / "run")
    found = {entry["mechanism"]: entry for entry in metrics["protections"]}
    assert set(found) == {"gaussian", "quantize", "label_dp", "iso"}
    assert {entry["steps"] for entry in found.values()} == {12} == {metrics["steps"]}
    assert {entry["rows"] for entry in found.values()} == {300}
    assert found["gaussian"]["epsilon"] == pytest.approx(8, rel=1e-6) and found["gaussian"]["delta"] == 1e-5
    assert found["gaussian"]["edges"] == ["h.protected"] and found["label_dp"]["edges"] == []
    assert (
        json.loads((tmp_path / "run" / "metrics.json").read_text())["protections"] == metrics["protections"]
    )


def test_fewer_steps_need_less_noise(tmp_path):
    folder = bundle(ALL, tmp_path / "b")
    whole = run(folder, tmp_path / "whole")["protections"][0]
    short = run(folder, tmp_path / "short", steps=4)["protections"][0]
    assert short["noise"] < whole["noise"] and short["epsilon"] == pytest.approx(8, rel=1e-6)


def test_two_runs_have_nothing_random_in_common_and_a_resumed_one_all(tmp_path):
    folder = bundle(ALL, tmp_path / "b")
    for name in ("one", "two"):
        run(folder, tmp_path / name, steps=6, checkpoint_steps=3, ledger=tmp_path / f"ledger-{name}")
    first, second = (kept(tmp_path / name, "bob")[0] for name in ("one", "two"))
    assert not np.array_equal(first["protect_3.drawn"], second["protect_3.drawn"])
    metrics = train(None, sources(), tmp_path / "one", TrainOptions(resume=True, epochs=2, threads=1)).metrics
    after, settings = kept(tmp_path / "one", "bob")
    assert np.array_equal(first["protect_3.drawn"], after["protect_3.drawn"])
    assert {entry["steps"] for entry in metrics["protections"]} == {8}
    assert settings["protect_3"]["resumed"] == 0, "nothing was sent twice"
    assert metrics["protections"][0]["epsilon"] == pytest.approx(8, rel=1e-6)


def test_labels_are_not_drawn_again_where_the_draws_are_lost(tmp_path):
    run(bundle(ALL, tmp_path / "b"), tmp_path / "run", steps=6)
    (tmp_path / "run" / "bob" / "protections.safetensors").unlink()
    with pytest.raises(Failure, match=r"VFL0621.*protect_3"):
        train(None, sources(), tmp_path / "run", TrainOptions(resume=True, epochs=2, threads=1))


def test_what_rows_are_owed_is_in_the_checkpoint(tmp_path):
    run(bundle(ALL, tmp_path / "b"), tmp_path / "run", steps=6)
    file = sorted((tmp_path / "run" / "checkpoints").glob("*/alice/protections.safetensors"))[-1]
    owed = files.read_tensors(file)[0]["protect_2.drawn"]
    assert owed.shape == (100, 2) and (np.abs(owed).sum(1) > 0).sum() > 80


def test_a_resumed_run_sends_what_rows_were_owed(tmp_path):
    """To the bit what a run without a break sends: whatever it owes is part of its checkpoint."""
    folder = bundle(TWO + "protect h with quantize(bits = 3)\n", tmp_path / "b")
    run(folder, tmp_path / "whole", epochs=2)
    run(folder, tmp_path / "broken", steps=5)
    train(None, sources(), tmp_path / "broken", TrainOptions(resume=True, epochs=2, threads=1))
    for place in ("alice", "bob"):
        one, two = (tmp_path / name / place / "model.safetensors" for name in ("whole", "broken"))
        assert one.read_bytes() == two.read_bytes(), place


def test_what_rows_are_owed_has_to_fit(tmp_path):
    guards = Guards(open_bundle(bundle(TWO + "protect h with top_k(k = 1)\n", tmp_path / "b")).plans["alice"])
    guards.restore(Facts(4, 4, 4, 1), guards.settings(), {})
    saved = {"protect_1.drawn": np.arange(24, dtype=np.float32).reshape(4, 6)}
    guards.resume(guards.counts(), saved)
    assert np.array_equal(guards.memories()["protect_1.drawn"], saved["protect_1.drawn"])
    for other in (np.zeros((3, 6), np.float32), np.zeros((4, 6))):
        with pytest.raises(Failure, match="VFL0621"):
            guards.resume(guards.counts(), {"protect_1.drawn": other})


def test_a_run_has_not_the_noise_for_more_epochs(tmp_path):
    run(bundle(ALL, tmp_path / "b"), tmp_path / "run", epochs=2)
    with pytest.raises(Failure, match="VFL0671"):
        train(None, sources(), tmp_path / "run", TrainOptions(resume=True, epochs=3, threads=1))


def test_a_run_of_more_epochs_than_its_epsilon_allows_never_begins(tmp_path):
    text = TWO + "protect h with gaussian(clip = 1.0, noise = 4.0, epsilon = 6)\n"
    with pytest.raises(Failure, match=r"VFL0672.*50 epochs") as refused:
        run(bundle(text, tmp_path / "b"), tmp_path / "run", epochs=50)
    assert refused.value.where["text"].startswith("protect h") and not (tmp_path / "run").exists()


GRANTED = """
party alice {
  key ID
  feature Age: float
}
party bob {
  key ID
  column  Rating: float
  label   liked = Rating > 0
}
h = stop_gradient(tanh(dense(alice.Age, 4)))
logit = dense(h, 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train { epochs 3   batch 32 }
protect h with gaussian(clip = 1.0, noise = NOISE, epsilon = 4)
release alice { to bob: Age at most epsilon 4 }
"""


@pytest.mark.parametrize("how", ["alone", "apart"])
def test_options_do_not_exceed_what_is_granted(how, tmp_path):
    """The grant holds for the epochs of the spec; a run of more is refused before anything crosses."""
    noise = calibrate(4.0, 1e-6, 3 + 2, 1e4, None)
    folder = bundle(GRANTED.replace("NOISE", f"{noise * 1.001:.4f}"), tmp_path / "b")

    def codes(**options: Any) -> list[str]:
        chosen, out = TrainOptions(threads=1, overwrite=True, **options), tmp_path / "run"
        if how == "apart":
            found = train_together(folder, sources(), out, chosen)
            return [result.code if isinstance(result, Failure) else "" for result in found.values()]
        try:
            train(folder, sources(), out, chosen)
        except Failure as failure:
            return [failure.code]
        return [""]

    assert "VFL0672" in codes(epochs=9) and not list(tmp_path.glob("run/**/step-*"))
    assert set(codes(batch=1, epochs=2, validation=0.3, seed=5)) == {""}, "rows are told no more often"


def test_without_the_library_nothing_is_promised(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(Failure, match="VFL0678") as refused:
        run(bundle(ALL, tmp_path / "b"), tmp_path / "run")
    assert "vflc[dp]" in refused.value.help


@pytest.mark.parametrize("times", [0, 2])
def test_a_protection_that_does_not_run_ends_the_run(times, tmp_path, monkeypatch):
    from vflc_runtime.protect.guards import Guards

    text = TWO + "protect gradients to alice with marvell(sum_kl = 0.5)\n"
    at = Recorded(bundle(text, tmp_path / "b"))
    original = Guards.apply

    def apply(self: Guards, name: str, *rest: Any) -> None:
        for _ in range(times if name == "protect_1" else 1):
            original(self, name, *rest)
        if name == "protect_1" and not times:  # as if a faulty step had let the gradients through
            engine, guard = rest[0], self._plan.guards[name]
            for before, after in zip(guard.before, guard.after, strict=True):
                engine.put(after, engine.get(before))

    monkeypatch.setattr(Guards, "apply", apply)
    with pytest.raises(Failure, match=rf"VFL0670.*ran {times} times") as refused:
        at.step(batch(32))
    assert refused.value.exit_code == 4


@pytest.mark.parametrize("what", ["guards", "step"])
def test_a_plan_without_a_promised_protection_is_damaged(what, tmp_path):
    folder = bundle(ALL, tmp_path / "b")
    path = folder / "alice" / "plan.json"
    plan = json.loads(path.read_text())
    if what == "guards":
        plan["guards"] = plan["guards"][1:]
    steps = [step for step in plan["programs"]["train"] if step.get("guard") != "protect_1"]
    plan["programs"]["train"] = steps
    path.write_text(json.dumps(plan))
    sign(folder)
    with pytest.raises(Failure, match="VFL0613") as refused:
        open_bundle(folder)
    assert "was changed" not in refused.value.message


def test_without_protections_split_is_unsplit(tmp_path):
    inputs, found = batch(32), []
    for name, options in (("split", {}), ("unsplit", {"unsplit": True})):
        folder = bundle(ALL, tmp_path / name, precision="float64", protections=False, **options)
        at = Recorded(folder)
        assert not at.session.protections()
        found.append([at.step(inputs).loss for _ in range(3)])
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_masks_work_between_places_that_only_have_messages(tmp_path):
    text = SUM + "protect a with secure_sum\nprotect bob.liked with label_dp(epsilon = 60)\n"
    folder = bundle(text, tmp_path / "b")
    tables = sources(("alice", "bob", "carol"))
    options = TrainOptions(epochs=2, threads=1)
    found = train_together(folder, tables, tmp_path / "runs", options)
    for result in found.values():
        if isinstance(result, BaseException):
            raise result
    train(folder, tables, tmp_path / "alone", options)
    for place in ("alice", "bob", "carol"):
        mine, one = (
            files.read_tensors(base / place / "model.safetensors")[0]
            for base in (tmp_path / "runs" / place, tmp_path / "alone")
        )
        assert all(np.array_equal(mine[name], one[name]) for name in one), "masks cancel to the bit"
    (entry,) = found["carol"].metrics["protections"]
    assert entry["mechanism"] == "secure_sum" and entry["edges"] == ["c"]


def test_the_page_to_sign_says_what_is_promised(tmp_path):
    page = (bundle(ALL, tmp_path / "b") / "manifest.md").read_text()
    rows_of = [line for line in page.splitlines() if line.startswith("| `") and "(" in line]
    for start in (
        "| `h.protected` | gaussian(clip = 1, epsilon = 8",
        "| `bob.liked` | label_dp(epsilon = 2) | bob",
    ):
        assert any(line.startswith(start) for line in rows_of)
    assert "numbers of 6 bits: compression, no privacy" in page and "Could be hidden" not in page
    page = (bundle(SUM, tmp_path / "sum") / "manifest.md").read_text()
    assert "- bob reads `a` and `c` only as a sum: `protect a with secure_sum`" in page
    page = (bundle(SUM + "protect c with secure_sum\n", tmp_path / "masked") / "manifest.md").read_text()
    assert "Could be hidden" not in page


def test_verify_compares_without_protections_and_says_so(tmp_path):
    from vflc.cli.verify import run as verify

    path = tmp_path / "test.vfl"
    path.write_text(ALL)
    options = {"steps": 3, "rows": 60, "batch": 16, "seed": 0, "engines": ("onnx",), "precision": "float64"}
    found = verify(path, {**options, "threads": 1, "sources": {}}, quiet=True)
    assert found["within"] and found["protections_off"] == ["gaussian", "quantize", "label_dp", "iso"]
