"""Every example trains to the same weights split and unsplit, by ONNX and by Keras.

A few steps here: in float64 those ways that differ in everything; in float32, as a user runs them, the two
examples where rounding is most at work, one of them in every way. All of it takes ten minutes:
`VFLC_VERIFY=full`.
"""

import os
from pathlib import Path

import pytest
from specs.examples import EXAMPLES, text_of
from verify.verifying import KERAS, PAIRS, agreed, crosswise

FULL = os.environ.get("VFLC_VERIFY") == "full"
FEW = () if FULL else ("--steps", "4", "--rows", "32", "--batch", "8")
PAIRED = [("unsplit onnx", "split onnx"), ("unsplit onnx", "split keras"), ("split onnx", "split keras")]
CASES = [(name, precision) for name in EXAMPLES for precision in ("float64", "float32")]


@pytest.mark.parametrize("name", EXAMPLES)
def test_ways_that_differ_in_everything_agree(name: str, tmp_path: Path) -> None:
    found = crosswise(text_of(name, small=True), tmp_path)
    assert [each.ways for each in found] == (PAIRED if KERAS else PAIRED[:1])
    for each in found:
        assert each.within, (each.ways, each.worst)
        assert all(each.worst[kind] is not None for kind in ("weight", "prediction", "loss"))
    assert not KERAS or found[-1].worst["message"] is not None, "nothing crossed"


@pytest.mark.parametrize(("name", "precision"), CASES if FULL else [("u_shape", "float32")])
def test_every_way_agrees(name: str, precision: str) -> None:
    found = agreed(EXAMPLES[name], "--precision", precision, *FEW)
    ((given, entry),) = found["precisions"].items()
    assert given == precision and len(entry["pairs"]) == PAIRS
    for pair in entry["pairs"]:
        assert all(pair["worst"][kind] is not None for kind in ("weight", "prediction", "loss"))
    if KERAS:
        (split,) = [p for p in entry["pairs"] if all(way.startswith("split") for way in p["ways"])]
        assert split["worst"]["message"] is not None, "nothing crossed"


def test_splitting_rounds_as_little_in_float32() -> None:
    agreed(EXAMPLES["deepfm_splitrec"], "--engines", "onnx", "--precision", "float32", *FEW)
