"""Every example trains to the same weights split and unsplit, by ONNX and by Keras."""

from pathlib import Path

import pytest
from verify.verifying import KERAS, PAIRS, ROOT, agreed

SPECS = sorted((ROOT / "specs").rglob("*.vfl"))


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_every_example_is_verified(spec: Path) -> None:
    found = agreed(spec, "--steps", "4", "--rows", "32", "--batch", "8")
    assert list(found["precisions"]) == ["float64", "float32"]
    for entry in found["precisions"].values():
        assert len(entry["pairs"]) == PAIRS
        for pair in entry["pairs"]:
            assert all(pair["worst"][kind] is not None for kind in ("weight", "prediction", "loss"))
        if KERAS:
            (split,) = [p for p in entry["pairs"] if all(way.startswith("split") for way in p["ways"])]
            assert split["worst"]["message"] is not None, "nothing crossed"
