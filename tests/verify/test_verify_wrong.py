"""Mistakes that `vflc verify` is there to find: each is made on purpose, found, and named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from verify.verifying import KERAS, SMALL, agreed, verify, worst, wrong_tanh
from vflc_runtime.transport.local import LocalChannel

from vflc.cli import verify as command

FEW = ("--precision", "float64", "--steps", "5", "--rows", "40")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "small.vfl"
    path.write_text(SMALL)
    return path


@pytest.mark.skipif(not KERAS, reason="tensorflow is not installed")
def test_a_wrong_gradient_is_found_at_the_weights_it_reaches(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong_tanh(monkeypatch)
    ended = verify(spec, "--json", *FEW)
    assert ended.code == 1 and not ended.found["within"]
    beyond = worst(ended.found)["float64"]
    weights = [difference["name"] for _, difference in beyond if difference["kind"] == "weight"]
    assert weights and {name.split(".")[0] for name in weights} == {"a"}
    for ways, _ in beyond:
        assert {way.split()[1] for way in ways} == {"onnx", "keras"}, "the engines differ, not the splits"
    command._show(ended.found)
    shown = capsys.readouterr().out
    assert "the ways disagree" in shown
    assert any(line.split()[0] == "weight" and "beyond" in line for line in shown.splitlines() if line)


def test_a_message_that_is_not_what_was_computed_is_found(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = LocalChannel.send

    def spoiled(channel: LocalChannel, receiver: str, envelope: Any) -> None:
        tensors = {edge: tensor * (1 + 1e-6) for edge, tensor in envelope.tensors.items()}
        sent(channel, receiver, dataclasses.replace(envelope, tensors=tensors))

    agreed(spec, "--engines", "onnx", *FEW)
    monkeypatch.setattr(LocalChannel, "send", spoiled)
    ended = verify(spec, "--json", "--engines", "onnx", *FEW)
    assert ended.code == 1
    ((ways, first), *_) = worst(ended.found)["float64"]
    assert ways == ["unsplit onnx", "split onnx"] and first["measure"] > 1e-9
