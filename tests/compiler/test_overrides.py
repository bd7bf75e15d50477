"""`--set NAME=VALUE`: what it changes, what it leaves as it was, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import vflc
from vflc.cli.check import command as check
from vflc.cli.compile import command as compile_
from vflc.cli.main import run
from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source
from vflc.overrides import overridden

SPEC = """LR = 0.01   # the rate
K = 8
party alice { key ID
  feature x: float -> standardize }
party bob { key ID
  feature w: float -> standardize
  label y: int }
logit = dense(mlp(concat(alice.x, bob.w), [K]), 1)
predict y = sigmoid(logit)
objective bce(logit, bob.y)
train {
  optimizer sgd(lr = 0.5) for logit.dense.*
  optimizer adam(lr = LR)
  epochs 3 }
release alice { to bob: x }
release bob { to alice: w, y }
"""


def changed(text: str, **values: str) -> str:
    return overridden(SourceText("m.vfl", text), values).text


def test_a_binding_and_a_setting_have_the_other_value_and_all_else_is_as_it_was() -> None:
    assert changed(SPEC, LR="0.5", epochs="7") == SPEC.replace("0.01 ", "0.5 ").replace(
        "epochs 3", "epochs 7"
    )
    assert changed(SPEC) == SPEC


def test_a_setting_that_the_spec_has_not_is_added() -> None:
    with_batch = changed(SPEC, batch="32", metrics="auc, recall")
    config = compile_source(SourceText("m.vfl", with_batch)).model.train
    assert (config.batch, tuple(config.metrics), config.epochs) == (32, ("auc", "recall"), 3)
    without = SPEC[: SPEC.index("train {")] + SPEC[SPEC.index("release alice") :]
    assert compile_source(SourceText("m.vfl", changed(without, epochs="5"))).model.train.epochs == 5


def test_an_optimizer_for_all_is_replaced_and_those_for_patterns_stay() -> None:
    text = changed(SPEC, optimizer="ftrl(lr = 2 * LR)")
    assert "optimizer ftrl(lr = 2 * LR)\n" in text and "sgd(lr = 0.5) for logit.dense.*" in text
    assert "adam" not in text


@pytest.mark.parametrize(
    ("name", "value", "code", "says"),
    [
        ("LRR", "1", "VFL0101", "did you mean `LR`?"),
        ("epoch", "1", "VFL0101", "did you mean `epochs`?"),
        ("LR", "0.0.1", "VFL0001", ""),
        ("LR", "1 K2 = 3", "VFL0001", "a value as in the spec"),
        ("LR", "1 at bob", "VFL0001", "a value as in the spec"),
        ("LR", "", "VFL0005", ""),
        ("epochs", "2 } objective mse(logit, 0) train { batch 3", "VFL0001", "a value as in the spec"),
        ("epochs", "2 batch 3", "VFL0001", "a value as in the spec"),
        ("epochs", "2 }", "VFL0002", ""),
        ("optimizer", "sgd(lr = 1) for *", "VFL0001", "a value as in the spec"),
    ],
)
def test_what_is_no_value_is_refused_at_its_own_text(name: str, value: str, code: str, says: str) -> None:
    with pytest.raises(Refused) as refused:
        changed(SPEC, **{name: value})
    found = refused.value.diagnostics[0]
    assert found.code == code and says in (found.help or "")
    assert found.span is not None and found.span.source.name == "--set" and value in found.span.source.text


def test_a_value_that_the_model_does_not_take_is_a_finding_in_the_text_with_it(tmp_path: Path) -> None:
    path = tmp_path / "m.vfl"
    path.write_text(SPEC, "utf-8")
    result = CliRunner().invoke(check, [str(path), "--set", "epochs=-1", "--format", "json"])
    (found,) = json.loads(result.stdout)
    assert result.exit_code == 1 and found["code"] == "VFL0205" and path.read_text("utf-8") == SPEC


def test_commands_take_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.vfl"
    path.write_text(SPEC, "utf-8")
    made = CliRunner().invoke(compile_, [str(path), "-o", str(tmp_path / "b"), "--set", "K = 5"])
    assert made.exit_code == 0, made.output
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text("utf-8"))
    assert 5 in [edge["bytes_per_row"] // 4 for edge in manifest["edges"]]
    data = [f"--data={party}={path}" for party in ("alice", "bob")]
    assert run(["train", str(tmp_path / "b"), *data, "--out", str(tmp_path / "r"), "--set", "K=4"]) == 2
    assert "--set is for a SPEC" in capsys.readouterr().err
    assert run(["check", str(path), "--fix", "--set", "K=4"]) == 2
    assert run(["check", str(path), "--set", "K"]) == 2
    assert "not NAME=VALUE" in capsys.readouterr().err


def test_from_python(tmp_path: Path) -> None:
    path = tmp_path / "m.vfl"
    path.write_text(SPEC, "utf-8")
    plain, other = vflc.compile(path), vflc.compile(path, overrides={"K": 5, "shuffle": False, "LR": 0.02})
    assert plain.digest != other.digest
    written = changed(SPEC, K="5", shuffle="false", LR="0.02")
    assert other.digest == vflc.compile(written, name="m").digest
    with pytest.raises(vflc.Error, match="VFL0101"):
        vflc.compile(path, overrides={"L": 5})


def test_a_picture_and_a_population_take_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.vfl"
    path.write_text(SPEC, "utf-8")
    pictures = []
    for value in (8, 5):
        assert run(["graph", str(path), "--set", f"K={value}"]) == 0
        pictures.append(capsys.readouterr().out)
    assert run(["graph", str(path)]) == 0
    assert capsys.readouterr().out == pictures[0] != pictures[1]
    users = Path(__file__).parents[2] / "specs/fedrecon/fedrecon.vfl"
    assert run(["check", str(users), "--set", "rounds=9"]) == 0
    assert run(["check", str(users), "--set", "rounds=0"]) == 1
    assert "`rounds` must be a whole number" in capsys.readouterr().out
