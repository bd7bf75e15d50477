"""Every example trains to the same weights split and unsplit, by ONNX and by Keras.

A few steps here, in float64; float32 on those where rounding is most at work. All of it, as a user
runs it, takes ten minutes: `VFLC_VERIFY=full`.
"""

import os
from pathlib import Path

import pytest
from specs.examples import EXAMPLES
from verify.verifying import KERAS, PAIRS, agreed

SPECS = sorted(EXAMPLES.values())
FULL = os.environ.get("VFLC_VERIFY") == "full"
FEW = () if FULL else ("--steps", "4", "--rows", "32", "--batch", "8")
ROUNDING = ("deepfm_splitrec", "u_shape")
CASES = [
    pytest.param(spec, precision, id=f"{spec.stem}-{precision}")
    for spec in SPECS
    for precision in ("float64", "float32")
    if FULL or precision == "float64" or spec.stem in ROUNDING
]


@pytest.mark.parametrize(("spec", "precision"), CASES)
def test_every_example_is_verified(spec: Path, precision: str) -> None:
    found = agreed(spec, "--precision", precision, *FEW)
    ((name, entry),) = found["precisions"].items()
    assert name == precision and len(entry["pairs"]) == PAIRS
    for pair in entry["pairs"]:
        assert all(pair["worst"][kind] is not None for kind in ("weight", "prediction", "loss"))
    if KERAS:
        (split,) = [p for p in entry["pairs"] if all(way.startswith("split") for way in p["ways"])]
        assert split["worst"]["message"] is not None, "nothing crossed"
