"""The command: what it prints, what it takes, how it ends."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from snapshot import same_as
from verify.verifying import KERAS, LEAST, SMALL, verify
from vflc_runtime.verify import Verification

from vflc.cli import verify as command
from vflc.cli.main import run

SNAPSHOTS = Path(__file__).parent / "snapshots"
FEW = ("--engines", "onnx", "--steps", "3", "--rows", "40")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "small.vfl"
    path.write_text(SMALL)
    return path


def difference(kind: str, name: str, absolute: float, step: int | None) -> dict[str, Any]:
    return {
        "kind": kind, "name": name, "step": step,
        "absolute": absolute, "relative": absolute * 2, "measure": absolute * 2,
    }  # fmt: skip


def result(scale: float) -> dict[str, Any]:
    """What a run found, its differences made up."""
    worst = {
        "weight": difference("weight", "a.deep.kernel", 4e-16 * scale, None),
        "message": None,
        "prediction": difference("prediction", "liked", 0.0, 3),
        "loss": difference("loss", "bce", 1e-16 * scale, 1),
    }
    crossing = worst | {"message": difference("message", "a.deep.gradient", 3e-16 * scale, 1200)}
    pairs = [
        {"ways": ["unsplit onnx", "split onnx"], "limit": 1e-9, "worst": worst},
        {"ways": ["split onnx", "split keras"], "limit": 1e-9, "worst": crossing},
    ]
    nearly = {kind: each and each | {"measure": 2e-8 * scale} for kind, each in worst.items()}
    dense = {"ways": ["unsplit keras", "dense keras"], "limit": 1e-6, "worst": nearly}
    singles = [pair | {"limit": 1e-4} for pair in pairs]
    entry = {"within": scale == 1, "exchanged_rows": 0, "idle_weights": {}, "pairs": [*pairs, dense]}
    return {
        "engines": ["onnx", "keras"], "dense_off": None if scale == 1 else "Keras does not do that",
        "steps": 1200, "rows": 4000, "batch": 128, "seed": 7, "within": scale == 1,
        "precisions": {
            "float64": entry | {"limit": 1e-9},
            "float32": entry | {
                "limit": 1e-4, "exchanged_rows": 67, "pairs": singles,
                "idle_weights": {"b.hidden.dense.bias": 2e-7, "b.dense.bias": 3e-7 if scale == 1 else 3e-2},
            },
        },
    }  # fmt: skip


@pytest.mark.parametrize(("name", "scale"), [("agree", 1), ("differ", 1e12)])
def test_what_is_shown(name: str, scale: float, capsys: pytest.CaptureFixture[str]) -> None:
    command._show(result(scale))
    same_as(SNAPSHOTS / f"{name}.txt", capsys.readouterr().out)


def test_why_a_weight_is_idle() -> None:
    attention, dense, kernel = "m.multi_head_attention.key.bias", "b.dense.bias", "b.dense.kernel"
    norm = "a `dense` before `batch_norm` needs no bias: `bias = false`"
    assert list(command._why_idle([dense])) == [norm] and not list(command._why_idle([kernel]))
    assert [("keys" in hint) for hint in command._why_idle([attention])] == [True]
    assert [*command._why_idle([attention, dense])][1] == norm


@pytest.mark.parametrize(("share", "within"), [(9e-5, True), (2e-4, False)])
def test_the_gradient_of_a_weight_that_is_held_counts(share: float, within: bool) -> None:
    made = Verification([], [], 0, {"a.bias": share})
    assert command._entry(made, "float32")["within"] is within


def test_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run(["verify", "--help"]) == 0
    same_as(SNAPSHOTS / "help.txt", capsys.readouterr().out)


def test_json_says_what_was_done(spec: Path) -> None:
    ended = verify(spec, "--json", "--seed", "5", *FEW)
    assert ended.code == 0 and not ended.stderr
    found = ended.found
    assert (found["model"], found["engines"], found["within"]) == ("small", ["onnx"], True)
    assert [found[name] for name in ("steps", "rows", "batch", "seed")] == [3, 40, 2, 5]
    for precision, limit in (("float64", 1e-9), ("float32", 1e-4)):
        entry = found["precisions"][precision]
        assert entry["limit"] == limit and entry["within"]
        (pair,) = entry["pairs"]
        assert pair["ways"] == ["unsplit onnx", "split onnx"]
        assert set(pair["worst"]) == {"weight", "message", "prediction", "loss"}
        assert set(entry["ways"]) == set(pair["ways"])


def test_lines_where_there_is_no_terminal(spec: Path) -> None:
    ended = verify(spec, *FEW)
    assert ended.code == 0 and "\x1b" not in ended.stdout and "\r" not in ended.stdout
    assert ended.stdout.startswith("float64 unsplit onnx: 3 steps\nfloat64 split onnx: 3 steps\n")
    assert "all ways agree: 3 steps of 2 rows, 40 rows in all, seed 0" in ended.stdout


def test_own_data(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        assert run(["init", "project"]) == 0
        data = ("--data", "bank=project/data/bank.csv", "--data", "shop=project/data/shop.csv")
        ended = verify("project/model.vfl", "--json", "--engines", "onnx", "--steps", "3", *data)
        assert ended.code == 0 and ended.found["rows"] == 561
        missing = verify("project/model.vfl", "--engines", "onnx", *data[:2])
        assert missing.code == 1 and "error[VFL0618]" in missing.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--engines", "onnx,torch"), 2, "no engine 'torch'"),
        (("--steps", "0"), 2, "--steps"),
        (("--rows", "10", "--data", "alice=a.csv"), 2, "--rows"),
        (("--engines", "onnx", "--rows", "10", "--batch", "11"), 1, "error[VFL0609]"),
    ],
)
def test_mistakes(spec: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    ended = verify(spec, *arguments)
    assert ended.code == code and said in ended.stderr and "Traceback" not in ended.stderr


def test_mistakes_of_the_spec_are_shown(spec: Path) -> None:
    spec.write_text(SMALL.replace("a + b", "a + c"))
    ended = verify(spec, *FEW)
    assert ended.code == 1 and "error[VFL0101]" in ended.stderr


def test_a_loss_that_is_not_finite(spec: Path) -> None:
    spec.write_text(SMALL.replace("adam(lr = 0.01)", "sgd(lr = 1e38)").replace("bce(", "mse("))
    ended = verify(spec, *FEW)
    assert ended.code == 1 and "error[VFL0611]" in ended.stderr and "unsplit onnx" in ended.stderr


def test_without_tensorflow_only_onnx_is_verified(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find(name)
    )
    ended = verify(spec, "--json", "--steps", "2", "--rows", "40")
    assert ended.code == 0 and ended.found["engines"] == ["onnx"]
    assert "keras was left out" in ended.stderr and "vflc[keras]" in ended.stderr


def test_keras_that_is_asked_for_must_be_there(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("keras", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    ended = verify(spec, "--engines", "keras", "--steps", "2", "--rows", "40")
    assert ended.code == 1 and "error[VFL0503]" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.skipif(not KERAS, reason="tensorflow is not installed")
def test_keras_alone(spec: Path) -> None:
    spec.write_text(LEAST)
    ended = verify(
        spec, "--json", "--engines", "keras", "--precision", "float32", "--steps", "2", "--rows", "40"
    )
    assert ended.code == 0
    pairs = [pair["ways"] for pair in ended.found["precisions"]["float32"]["pairs"]]
    assert pairs == [["unsplit keras", "split keras"], ["unsplit keras", "dense keras"]]
