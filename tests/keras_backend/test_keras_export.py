"""Exported models: the same ids as the runtime's encoders, the same predictions as the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
from keras_testing import loaded_here, needs_tensorflow
from vflc_common.encoders import ENCODERS
from vflc_common.encoding import MISSING, UNKNOWN
from vflc_runtime.data.chain import EncoderChain
from vflc_runtime.data.generate import generate
from vflc_runtime.engines.onnx_session import onnx_errors
from vflc_runtime.errors import Failure
from vflc_runtime.export import keras as exported_keras
from vflc_runtime.export import run as exporting
from vflc_runtime.export.description import _column, encoded, signature
from vflc_runtime.export.encode import RefusedValue, encode
from vflc_runtime.export.onnx import ELEMENTS, Encoding, OnnxFormat
from vflc_runtime.export.raw import RawFeature
from vflc_runtime.export.run import _cut, export
from vflc_runtime.export.standalone import steps
from vflc_runtime.run.train import TrainOptions, train

from vflc.cli.main import run as vflc
from vflc.driver import compile_spec

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TEXTS = ["x", "y", "é", "", "unlisted", "x y", "y  é x", "X ", " ", "\u00a0É x", None]
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
    "many words": ("string", [SPLIT, {"name": "lower"}, vocab("x", "é", default="other")], "ids"),
    "many stripped": ("string", [SPLIT, {"name": "strip"}, vocab("x", "é", default="other")], "ids"),
    "stripped": ("string", [{"name": "strip"}, {"name": "lower"}, vocab("x", "y", default="other")], "id"),
    "stripped and filled": ("string", [FILL, {"name": "strip"}, vocab("y", "x", default="other")], "id"),
    "stripped hash": ("string", [{"name": "strip"}, FILL, {"name": "lower"}, SALTED], "id"),
    "empty listed": ("string", [vocab("x", "", default="other")], "id"),
    "empty hash": ("string", [SPLIT, SALTED], "ids"),
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
    "constant": ("float", [{"name": "standardize", "mean": 0.3, "std": 1.0}], "number"),
    "minmax": ("float", [{"name": "minmax", "low": -1.0, "high": 3.0}], "number"),
    "log": ("float", [{"name": "log1p"}, {"name": "scale", "factor": 0.5}], "number"),
    "filled late": (
        "float",
        [{"name": "standardize", "mean": 0.3, "std": 2.0}, {"name": "missing", "value": 7}],
        "number",
    ),
    "clip": ("float", [{"name": "clip", "low": -1, "high": 0.75}], "number"),
}
NO_EMPTY = {"empty listed", "many stripped"}
"""Chains where an empty text is a value, and none or padding another."""
MANY = {"string": TEXTS, "int": WHOLE, "float": NUMBERS}
ARROW = {"string": pa.string(), "int": pa.int64(), "float": pa.float64()}


def expected(name: str, value: Any) -> list[Any] | None:
    """What the runtime makes of a value by itself; None where it refuses it."""
    type, chain, shape = CHAINS[name]
    described = {"encoders": chain, "shape": shape, "rows": ROWS[shape]}
    try:
        made = EncoderChain("p.c", described).encode(pa.array([value], ARROW[type]), pa.array(["1"]))
    except Failure:
        return None
    return [x for x in made.reshape(-1).tolist() if shape != "ids" or x >= 0]


ROWS = {"id": 30, "ids": 30, "number": None}


def raw(name: str, id: str = "p.c") -> RawFeature:
    type, chain, shape = CHAINS[name]
    return RawFeature(id, "p", "c", type, tuple(chain), shape, ROWS[shape])


def described(cut: RawFeature) -> dict[str, Any]:
    return {"inputs": [_column(cut, "float64")]}


def accepted(name: str) -> list[Any]:
    """The values that the encoder beside a model takes, which are those that the runtime takes."""
    values = []
    for value in MANY[CHAINS[name][0]]:
        try:
            encode(described(raw(name).all_before()), [{"c": value}], steps(ENCODERS.ours))
        except RefusedValue as refused:
            assert expected(name, value) is None, f"{name} of {value!r}"
            assert str(refused).startswith("p.c "), "what is refused has a name"
        else:
            assert expected(name, value) is not None, f"{name} of {value!r}"
            values.append(value)
    return values


def check(name: str, values: list[Any], found: np.ndarray[Any, Any]) -> None:
    for value, row in zip(values, found.reshape(len(values), -1).tolist(), strict=True):
        given = [x for x in row if CHAINS[name][2] != "ids" or x >= 0]
        assert given == pytest.approx(expected(name, value), rel=1e-15), f"{name} of {value!r}"


@pytest.mark.parametrize("name", CHAINS)
def test_encoder_of_an_export_encodes_as_the_runtime(name: str) -> None:
    values = accepted(name)
    given = described(raw(name).all_before())
    check(name, values, encoded(given, [{"p.c": value} for value in values])["p.c"])


class Alone:
    """Enough of a session to ask a format what it can do."""

    class bundle:
        class manifest:
            precision = "float64"


def onnx_model(cut: RawFeature) -> onnxruntime.InferenceSession:
    from onnx import helper

    encoding = Encoding(cut, "float64")
    encoding.build()
    type, shape = signature(cut, "float64")
    given = helper.make_tensor_value_info(cut.id, ELEMENTS[type], shape)
    sizes = {"id": ["n"], "ids": ["n", "most"], "number": ["n", 1]}[cut.shape]
    made = helper.make_tensor_value_info(f"{cut.id}/encoded", 11 if cut.shape == "number" else 6, sizes)
    graph = helper.make_graph(encoding.nodes, "g", [given], [made], encoding.initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


@pytest.mark.parametrize("name", CHAINS)
def test_onnx_encodes_as_the_runtime(name: str) -> None:
    cut, _ = _cut(raw(name), OnnxFormat(Alone(), {}))  # type: ignore[arg-type]
    hashes = any(encoder["name"] == "hash" for encoder in CHAINS[name][1])
    assert cut.encoded == (hashes or name in NO_EMPTY), "what ONNX can do is left to it"
    session, values = onnx_model(cut), accepted(name)
    feeds = encoded(described(cut), [{"p.c": value} for value in values])
    assert feeds["p.c"].dtype.kind == "U" or str(feeds["p.c"].dtype) == signature(cut, "float64")[0]
    check(name, values, session.run(None, {"p.c": as_fed(feeds["p.c"])})[0])
    for value in MANY[CHAINS[name][0]]:
        if value not in values and not cut.encoded:
            fed = {"string": "", "int": MISSING, "float": np.nan}[cut.type] if value is None else value
            column = np.array([fed], object if cut.type == "string" else None)
            with pytest.raises(onnx_errors(), match=r"p\.c is (unknown or missing|no number) in a row"):
                session.run(None, {"p.c": column})


def as_fed(column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return column.astype(object) if column.dtype.kind == "U" else column


@pytest.mark.parametrize("id", [-1, 30, UNKNOWN])
def test_an_encoded_id_of_another_column_is_refused_by_name(id: int) -> None:
    session = onnx_model(raw("hash").all_before())
    with pytest.raises(onnx_errors(), match=r"p\.c is no id below 30 in a row"):
        session.run(None, {"p.c": np.array([3, id], np.int32)})
    many = onnx_model(raw("many hash").all_before())
    ids = np.array([[3, id], [29, -1]], np.int32)
    if id < 0:
        assert many.run(None, {"p.c": ids})[0].tolist() == ids.tolist(), "-1 is no id"
    else:
        with pytest.raises(onnx_errors(), match=r"p\.c is no id below 30 in a row"):
            many.run(None, {"p.c": ids})


@needs_tensorflow
def test_keras_encodes_as_the_runtime(tmp_path: Path) -> None:
    """One model of all chains a length, through a file and back."""
    from vflc_runtime.engines.keras_setup import tensorflow
    from vflc_runtime.export.keras import KerasFormat, _input
    from vflc_runtime.export.keras_encoders import KerasEncoding

    keras, tf = tensorflow().keras, tensorflow().tf
    inputs, outputs, feeds, values = {}, {}, {}, {}
    for name in CHAINS:
        whole = raw(name, f"p.{name}".replace(" ", "."))
        cut, _ = _cut(whole, KerasFormat(Alone(), {}))  # type: ignore[arg-type]
        assert cut.encoded == (name in NO_EMPTY), "what Keras has a layer for is left to it"
        if cut.encoded:
            continue
        inputs[cut.id] = _input(cut, "float64")
        outputs[cut.id] = KerasEncoding(cut, "float64", keras).build(inputs[cut.id])
        values[name] = accepted(name)
        rows = [{"p.c": value} for value in values[name]]
        feeds[cut.id] = tf.constant(encoded(described(cut), rows)[cut.id])
    ids = {name: f"p.{name}".replace(" ", ".") for name in values}
    for length in {len(given) for given in values.values()}:
        alike = [name for name in values if len(values[name]) == length]
        path = tmp_path / f"{length}.keras"
        keras.Model(*({ids[name]: of[ids[name]] for name in alike} for of in (inputs, outputs))).save(path)
        found = keras.models.load_model(path)({ids[name]: feeds[ids[name]] for name in alike})
        for name in alike:
            check(name, values[name], np.asarray(found[ids[name]]))


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
train { optimizer adam(lr = 0.01)
 batch 32
 epochs 2 }
release alice { to bob, hub: hashed, word, blank, filled, age, past }
release bob { to alice, hub: item, tags, y, price }
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
    assert expressed == {
        "alice.hashed": "encode.py does hash (ONNX has no operator for `hash`)",
        "alice.word": "encode.py does missing",
        "alice.blank": "encode.py does strip -> lower",
        "alice.filled": "encode.py does missing -> strip",
        "alice.past": "encode.py does split -> hash -> sequence (ONNX has no operator for `hash`)",
    }
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
        graph = onnx.load(tmp_path / "out" / name).graph
        assert all(node.name for node in graph.node)
        assert metadata["digest"] in graph.doc_string
        assert all(info.doc_string in graph.doc_string for info in (*graph.input, *graph.output))


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
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
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
    assert "bob.tags: encode.py does split\n" in printed
    past = "alice.past: encode.py does split -> hash -> sequence (Keras has no layer for `sequence`)"
    assert past in printed
    assert "alice.hashed" not in printed
    monkeypatch.setattr(exported_keras, "_load_elsewhere", loaded_here)
    arguments = ["export", str(run), "--format", "keras", "--merged", "-o", str(tmp_path / "all"), "--json"]
    assert vflc(arguments) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["files"]["all.keras"]["difference"] < 1e-9
