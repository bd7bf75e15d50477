"""The example of docs/models.md, as a user would try it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vflc.cli.main import run
from vflc.driver import check
from vflc.syntax.format import format_spec

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-c", block("python")], check=True, timeout=120)
    spec = block("vfl")
    assert format_spec(spec) == spec and max(map(len, spec.splitlines())) <= 80
    (tmp_path / "model.vfl").write_text(spec)
    assert check(tmp_path / "model.vfl") == []
    assert run(["compile", "model.vfl", "-o", "build"]) == 0
    assert run(["verify", "model.vfl", "--steps", "4", "--engines", "onnx"]) == 0
    assert "all ways agree" in capsys.readouterr().out
    trained = spec.replace('block Encoder = onnx("encoder.onnx")', block("vfl trainable").strip())
    (tmp_path / "trained.vfl").write_text(trained)
    assert trained != spec and run(["verify", "trained.vfl", "--steps", "4", "--engines", "onnx"]) == 0
    sha256 = hashlib.sha256((tmp_path / "encoder.onnx").read_bytes()).hexdigest()
    declared = block("vfl statements").replace("HASH", sha256).strip()
    (tmp_path / "declared.vfl").write_text(spec.replace('block Encoder = onnx("encoder.onnx")', declared))
    assert check(tmp_path / "declared.vfl") == []
    (tmp_path / "encoder.onnx").unlink()
    assert check(tmp_path / "declared.vfl") == []
    assert [each.code for each in check(tmp_path / "model.vfl")] == ["VFL0108"]
