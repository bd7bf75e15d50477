"""Every example trains to the same weights split and unsplit, by ONNX and by Keras.

A few steps here: in float64 those ways that differ in everything; in float32, as a user runs them, the two
examples where rounding is most at work, one of them in every way. Keras builds and traces for seconds what
trains for a moment, and is left out where another example gives it the same to do. All of it takes ten
minutes: `VFLC_VERIFY=full`.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from specs.examples import EXAMPLES, SAME, few_fields, text_of
from verify.verifying import KERAS, agreed, crosswise, pairs

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

FULL = os.environ.get("VFLC_VERIFY") == "full"
FEW = () if FULL else ("--steps", "4", "--rows", "32", "--batch", "8")
PAIRED = [("unsplit onnx", "split onnx"), ("unsplit onnx", "split keras"), ("split onnx", "split keras")]
CASES = [(name, precision) for name in EXAMPLES for precision in ("float64", "float32")]

NO_KERAS = {
    "deepfm_splitrec": "the layers of deepfm and mmoe",
    "label_only": "the layers of u_shape",
    "mmoe_splitrec": "the layers of mmoe",
    "one_table": "the layers of deepfm",
    "regression": "the layers of deepfm; its loss in test_verify_tasks.py",
    "one_to_many": "the layers of deepfm; rows that a party lacks in test_verify_missing.py",
    "u_shape": "it is verified in every way in float32",
}
"""Examples that Keras runs nothing new of, and what runs it."""


@pytest.mark.parametrize(("name", "other"), SAME.items())
@pytest.mark.parametrize("unsplit", [False, True])
def test_without_protections_they_are_one(name: str, other: str, unsplit: bool) -> None:
    first, second = computed(name, unsplit), computed(other, unsplit)
    assert first and first == second


def computed(name: str, unsplit: bool) -> dict[str, Any]:
    """What is run of an example without protections: graphs, encoders, plans but for how long to train."""
    source = SourceText("spec.vfl", text_of(name, small=True))
    files = compile_source(source, unsplit=unsplit, protections=False).files
    plans = {file: json.loads(content) for file, content in files.items() if file.endswith("plan.json")}
    for plan in plans.values():
        del plan["train"]
    return {file: plans.get(file, content) for file, content in files.items() if "manifest" not in file}


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in SAME])
def test_ways_that_differ_in_everything_agree(name: str, tmp_path: Path) -> None:
    keras = KERAS and (FULL or name not in NO_KERAS)
    found = crosswise(few_fields(name), tmp_path, keras)
    assert [each.ways for each in found] == (PAIRED if keras else PAIRED[:1])
    for each in found:
        assert each.within, (each.ways, each.worst)
        assert all(each.worst[kind] is not None for kind in ("weight", "prediction", "loss"))
    assert not keras or found[-1].worst["message"] is not None, "nothing crossed"


@pytest.mark.parametrize(("name", "precision"), CASES if FULL else [("u_shape", "float32")])
def test_every_way_agrees(name: str, precision: str) -> None:
    found = agreed(EXAMPLES[name], "--precision", precision, *FEW)
    ((given, entry),) = found["precisions"].items()
    assert given == precision and len(entry["pairs"]) == pairs(3 if name == "one_table" else 2)
    for pair in entry["pairs"]:
        assert all(pair["worst"][kind] is not None for kind in ("weight", "prediction", "loss"))
    if KERAS:
        (split,) = [p for p in entry["pairs"] if all(way.startswith("split") for way in p["ways"])]
        assert split["worst"]["message"] is not None, "nothing crossed"


def test_splitting_rounds_as_little_in_float32() -> None:
    agreed(EXAMPLES["deepfm_splitrec"], "--engines", "onnx", "--precision", "float32", *FEW)
