"""A run whose places are joined by a network ends with the bits of one in a single process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from partying import compiled, tensors, train_alone, train_together
from specs.examples import prepared, text_of
from vflc_runtime.train import Result, TrainOptions

EXAMPLES = {"deepfm": 400, "three_parties": 300, "u_shape": 300, "wide_deep": 300, "label_only": 200}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    sources = prepared(name, tmp_path / "data", "--generate", EXAMPLES[name])
    bundle = compiled(name, text_of(name, small=True), tmp_path / "bundle")
    options = TrainOptions(epochs=2, batch=64, validation=0.2, checkpoint_steps=3)
    alone = train_alone(bundle, sources, tmp_path / "alone", options)
    found = train_together(bundle, sources, tmp_path, options)
    expected: dict[str, Any] = json.loads((alone / "metrics.json").read_text())
    for place, result in found.items():
        assert isinstance(result, Result), result
        assert tensors(tmp_path / place, place) == tensors(alone, place)
        for edge, count in result.metrics["bytes_sent"].items():
            assert expected["bytes_sent"][edge] == count
