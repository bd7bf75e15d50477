"""Exported models: the same ids as the runtime's encoders, the same predictions as the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from keras_testing import needs_tensorflow
from vflc_runtime import export as exporting
from vflc_runtime.data.chain import Chain
from vflc_runtime.data.generate import generate
from vflc_runtime.errors import Failure
from vflc_runtime.export import export
from vflc_runtime.export_onnx import Encoding
from vflc_runtime.export_raw import MISSING, UNKNOWN, NotExpressed, Raw
from vflc_runtime.train import TrainOptions, train

from vflc.cli.main import run as vflc
from vflc.driver import compile_spec

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TEXTS = ["x", "y", "é", "", "unlisted", "x y", "y  é x", None]
WHOLE = [0, 1, 4, 5, 18, -1, 7, -(2**62), 2**62, None]
NUMBERS = [0.0, 0.1, 0.1 + 1e-12, 0.1 - 1e-12, 0.5, -3.25, 2.0, 1e300, 1e-300, float("inf"), None]
HASH, SALTED = {"name": "hash", "buckets": 11}, {"name": "hash", "buckets": 11, "salt": [5, 6]}
FILL = {"name": "missing", "value": "x"}
SPLIT = {"name": "split", "separator": " "}
FRACTIONS = {"name": "bucketize", "edges": [0.1, 0.5, 2.0]}


def vocab(*values: Any, default: Any = None) -> dict[str, Any]:
    return {"name": "vocab", "values": list(values), "default": default}


def index(n: int, default: Any = None) -> dict[str, Any]:
    return {"name": "index", "n": n, "default": default}


X = {"value": "x"}
CHAINS: dict[str, tuple[str, list[dict[str, Any]], str]] = {
    "hash": ("string", [HASH], "id"),
    "salted": ("string", [SALTED], "id"),
    "filled hash": ("string", [FILL, HASH], "id"),
    "many hash": ("string", [SPLIT, HASH], "ids"),
    "vocab": ("string", [vocab("x", "y", "é")], "id"),
    "vocab other": ("string", [vocab("x", "y", default="other")], "id"),
    "vocab value": ("string", [vocab("y", "x", default=X)], "id"),
    "vocab filled": ("string", [FILL, vocab("y", "x", default="other")], "id"),
    "many vocab": ("string", [SPLIT, vocab("x", "é", default="other")], "ids"),
    "int hash": ("int", [HASH], "id"),
    "int vocab": ("int", [vocab(1, 18, -1)], "id"),
    "int vocab other": ("int", [vocab(5, 18, default="other")], "id"),
    "int vocab value": ("int", [vocab(5, 18, default={"value": 18})], "id"),
    "int vocab filled": ("int", [{"name": "missing", "value": 18}, vocab(5, 18, default="other")], "id"),
    "index": ("int", [index(6)], "id"),
    "index other": ("int", [index(6, "other")], "id"),
    "index value": ("int", [index(6, {"value": 2})], "id"),
    "index filled": ("int", [{"name": "missing", "value": 4}, index(6, {"value": 2})], "id"),
    "plain int": ("int", [{"name": "missing", "value": 0}], "number"),
    "plain": ("float", [], "number"),
    "filled": ("float", [{"name": "missing", "value": 1.5}], "number"),
    "buckets": ("float", [{"name": "missing", "value": 0.5}, FRACTIONS], "id"),
    "buckets only": ("float", [FRACTIONS], "id"),
    "int buckets": ("int", [{"name": "missing", "value": 0}, {**FRACTIONS, "edges": [0, 1, 5]}], "id"),
    "standardize": ("float", [{"name": "standardize", "mean": 0.3, "std": 2.0}], "number"),
    "constant": ("float", [{"name": "standardize", "mean": 0.3, "std": 0.0}], "number"),
    "minmax": ("float", [{"name": "minmax", "low": -1.0, "high": 3.0}], "number"),
    "log": ("float", [{"name": "log1p"}, {"name": "scale", "factor": 0.5}], "number"),
    "clip": ("float", [{"name": "clip", "low": -1, "high": 0.75}], "number"),
}
MANY = {"string": TEXTS, "int": WHOLE, "float": NUMBERS}
ARROW = {"string": pa.string(), "int": pa.int64(), "float": pa.float64()}


def column(type: str) -> np.ndarray[Any, Any]:
    """The values of a type as exported models take them."""
    if type == "string":
        return np.array([value or "" for value in TEXTS])
    if type == "int":
        return np.array([MISSING if value is None else value for value in WHOLE], np.int64)
    return np.array([np.nan if value is None else value for value in NUMBERS])


def expected(name: str) -> list[Any]:
    """What the runtime makes of each value by itself; None where it refuses it."""
    type, chain, shape = CHAINS[name]
    rows = {"id": 1 << 29, "ids": 1 << 29, "number": None}[shape]
    described = {"encoders": chain, "shape": shape, "rows": rows}
    results: list[Any] = []
    for value in MANY[type]:
        # The empty text stands for a missing one, but where it can only be hashed.
        hashed = [encoder["name"] for encoder in chain] == ["hash"]
        given = value
        if type == "string" and not value:
            given = "" if hashed else None
        try:
            encoded = Chain("p.c", described).encode(pa.array([given], ARROW[type]), pa.array(["1"]))
            results.append([x for x in encoded.reshape(-1).tolist() if shape != "ids" or x >= 0])
        except Failure:
            results.append(None)
    return results


def check(name: str, found: np.ndarray[Any, Any]) -> None:
    type, _, shape = CHAINS[name]
    for value, row, wanted in zip(
        MANY[type], found.reshape(len(MANY[type]), -1).tolist(), expected(name), strict=True
    ):
        if shape == "ids":
            assert [x for x in row if x >= 0] == wanted, f"{name} of {value!r}"
        elif wanted is None and shape == "id":
            assert row == [UNKNOWN], f"{name} of {value!r} is refused in training"
        elif wanted is None:
            assert not np.isfinite(row[0]), f"{name} of {value!r} is refused in training"
        elif shape == "id":
            assert row == wanted, f"{name} of {value!r}"
        else:
            assert row == pytest.approx(wanted, rel=1e-15), f"{name} of {value!r}"


@pytest.mark.parametrize("name", CHAINS)
def test_onnx_encodes_as_the_runtime(name: str) -> None:
    import onnx
    from onnx import helper

    type, chain, shape = CHAINS[name]
    encoding = Encoding(Raw("p.c", type, tuple(chain), shape), "float64")
    if any(encoder["name"] == "hash" for encoder in chain):
        with pytest.raises(NotExpressed, match="hashes"):
            encoding.build()
        return
    encoding.build()
    sizes = {"id": ["n"], "ids": ["n", "most"], "number": ["n", 1]}[shape]
    made = helper.make_tensor_value_info("p.c/encoded", 11 if shape == "number" else 6, sizes)
    given = helper.make_tensor_value_info("p.c", {"string": 8, "int": 7, "float": 11}[type], ["n"])
    graph = helper.make_graph(encoding.nodes, "g", [given], [made], encoding.initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    feed = column(type).astype(object) if type == "string" else column(type)
    check(name, onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"p.c": feed})[0])


@needs_tensorflow
def test_keras_encodes_as_the_runtime(tmp_path: Path) -> None:
    """One model of all chains, through a file and back."""
    from vflc_runtime.engines.keras_setup import tensorflow
    from vflc_runtime.export_keras import KerasFormat, _Encoding, _input

    keras = tensorflow().keras
    inputs, outputs, feeds = {}, {}, {}
    for name, (type, chain, shape) in CHAINS.items():
        raw = Raw(f"p.{name}".replace(" ", "."), type, tuple(chain), shape)
        inputs[raw.id] = _input(raw)
        outputs[raw.id] = _Encoding(raw, "float64").build(inputs[raw.id])
        feeds[raw.id] = tensorflow().tf.constant(KerasFormat.fed(None, raw, column(type)))  # type: ignore[arg-type]
    keras.Model(inputs, outputs).save(tmp_path / "all.keras")
    made = keras.models.load_model(tmp_path / "all.keras")(feeds)
    for name in CHAINS:
        check(name, np.asarray(made[f"p.{name}".replace(" ", ".")]))


# --- whole runs --------------------------------------------------------------------------------------

SPEC = """
party alice {
  key ID
  feature hashed: string -> hash(50)
  feature word:   string -> missing("a") -> vocab("a", "b", default = other)
  feature blank:  string -> strip -> lower -> vocab("a", "b", default = other)
  feature filled: string -> missing("a") -> strip -> vocab("a", "b", default = other)
  feature age:    int -> bucketize(20, 40)
  feature past:   string -> split(" ") -> hash(20) -> sequence(max = 3)
}
party bob {
  key ID
  feature item:   int -> index(30)
  feature tags:   string -> split("|") -> vocab("p", "q", "r")
  feature price:  float -> missing(1) -> log1p -> standardize
  column  target: float
  label   y = target > 0
}
party hub {}
a = dense(flatten(embed(alice.features, dim = 3)), 4)
b = dense(batch_norm(flatten(embed(bob.features, dim = 3))), 4)
fuse at hub { h = dense(concat(a, b), 3, activation = relu) }
fuse at bob { logit = dense(h, 1) + dense(dropout(b, 0.2), 1) }
predict y = sigmoid(logit)
objective bce(logit, bob.y)
accept VFL0310 on gradients to hub because "a test"
train { optimizer adam(lr = 0.01)
 batch 32
 epochs 2 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec, its tables, and a run of it by onnx in `run`."""
    made = tmp_path_factory.mktemp("export")
    (made / "all.vfl").write_text(SPEC)
    bundle = compile_spec(made / "all.vfl")
    bundle.write(made / "bundle")
    train(made / "bundle", tables(made), made / "run", TrainOptions(epochs=1, threads=1))
    return made


def tables(folder: Path) -> dict[str, pa.Table]:
    described: dict[str, Any] = {"parties": {}}
    for party in ("alice", "bob"):
        data = json.loads((folder / "bundle" / party / "encoders.json").read_bytes())
        described["parties"] |= data["parties"]
    return generate(described, 200, 4)


@pytest.mark.parametrize("merged", [False, True], ids=["parties", "merged"])
def test_onnx_export(folder: Path, tmp_path: Path, merged: bool) -> None:
    exported = export(folder / "run", tmp_path / "out", merged=merged, sources=tables(folder))
    expressed = {name: why for model in exported.models.values() for name, why in model.not_expressed.items()}
    assert set(expressed) == {"alice.hashed", "alice.past", "alice.blank", "alice.filled"}
    assert expressed["alice.blank"] == "give the text without blanks around it, in lower case"
    assert "strip" in expressed["alice.filled"], "blanks are unknown in training, and not missing"
    assert all(model.difference < 1e-5 for model in exported.models.values())
    names = (
        {"all.onnx"}
        if merged
        else {"alice/predict.onnx", "hub/predict.onnx", "bob/predict.onnx", "bob/predict_2.onnx"}
    )
    assert set(exported.models) == names
    for name in names:
        session = onnxruntime.InferenceSession(tmp_path / "out" / name)
        metadata = json.loads(session.get_modelmeta().custom_metadata_map["vflc"])
        assert metadata == json.loads((tmp_path / "out" / name).with_suffix(".json").read_text())
        assert set(metadata["not_expressed"]) <= set(expressed)


def test_an_export_that_differs_is_not_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(exporting.TOLERANCE, "float32", (0.0, -1.0))
    with pytest.raises(Failure) as failure:
        export(folder / "run", tmp_path / "out")
    assert failure.value.code == "VFL0501"
    assert not any(tmp_path.iterdir())


def test_an_export_needs_an_empty_folder_and_the_format(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("kept")
    with pytest.raises(Failure) as failure:
        export(folder / "run", tmp_path)
    assert failure.value.code == "VFL0612"
    with pytest.raises(Failure) as failure:
        export(folder / "run", tmp_path / "out", "keras")
    assert failure.value.code == "VFL0613"
    assert "--spec" in str(failure.value.help)


@needs_tensorflow
def test_a_run_changes_engines_and_exports_to_keras(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two epochs by onnx are an epoch by onnx and one by Keras, whose plan is added on the way."""
    run, whole, sources = tmp_path / "run", tmp_path / "whole", tables(folder)
    both = compile_spec(folder / "all.vfl", precision="float64", backends=("onnx", "keras"))
    both.write(tmp_path / "both")
    only = compile_spec(folder / "all.vfl", precision="float64")
    only.write(tmp_path / "only")
    assert both.manifest == only.manifest
    train(tmp_path / "only", sources, whole, TrainOptions(threads=1))
    train(tmp_path / "only", sources, run, TrainOptions(epochs=1, threads=1))
    options = TrainOptions(epochs=2, resume=True, engine="keras", threads=1)
    changed = train(tmp_path / "both", sources, run, options)
    reference = json.loads((whole / "metrics.json").read_text())
    assert changed.metrics["train"]["loss"] == pytest.approx(reference["train"]["loss"], rel=1e-9)
    assert vflc(["export", str(run), "--format", "keras", "-o", str(tmp_path / "parties")]) == 0
    printed = capfd.readouterr().out
    assert "bob.tags: give the pieces between '|'" in printed
    assert "alice.past: Keras has no layer for `sequence`" in printed
    assert "alice.hashed" not in printed
    arguments = ["export", str(run), "--format", "keras", "--merged", "-o", str(tmp_path / "all"), "--json"]
    assert vflc(arguments) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["files"]["all.keras"]["difference"] < 1e-9
