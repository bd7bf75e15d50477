"""Files of models: the same bytes every time, loadable by anyone, weights under the spec's names."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from granting import granted
from keras_testing import END, TABLES, compiled, needs_tensorflow
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.errors import Failure

pytestmark = [
    needs_tensorflow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

SPEC = (
    TABLES
    + """
α = embed(alice.features, dim = 3)
u = layer_norm(mlp(flatten(α), [4, 3]))
fuse at bob { logit = sum(u * embed(bob.b, dim = 3)) + weight(1) }
"""
    + END
)
ELSEWHERE = """
import hashlib, json, sys
from pathlib import Path

text, bundle = map(Path, sys.argv[1:])
for package in ("vflc", "vflc_runtime"):
    sys.modules[package] = None
import keras

found = {}
for path in sorted(bundle.rglob("*.keras.json")):
    model = keras.models.model_from_json(path.read_bytes())
    names = [variable.path for variable in model.variables]
    found[str(path.relative_to(bundle))] = [names, [list(i.shape) for i in model.inputs]]
for package in ("vflc", "vflc_runtime"):
    del sys.modules[package]
from vflc.diagnostics import SourceText
from vflc.driver import compile_source

source = SourceText("tested.vfl", text.read_text())
again = compile_source(source, precision="float64", backends=("onnx", "keras"))
print(json.dumps([found, {name: hashlib.sha256(each).hexdigest() for name, each in again.files.items()}]))
"""
"""Loads the models without vflc, and compiles the spec again."""


def test_same_bytes_in_another_process_and_loadable_without_vflc(tmp_path: Path) -> None:
    bundle = compiled(SPEC)
    bundle.write(tmp_path / "bundle")
    (tmp_path / "tested.vfl").write_text(granted(SPEC))
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, tmp_path / "tested.vfl", tmp_path / "bundle"],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONHASHSEED": "7", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    found, again = json.loads(done.stdout.splitlines()[-1])
    assert again == {name: hashlib.sha256(content).hexdigest() for name, content in bundle.files.items()}
    assert set(found) == {name for name in bundle.files if name.endswith(".keras.json")}
    variables, shapes = found["alice/keras/predict.keras.json"]
    assert {"u.mlp.0/kernel", "u.mlp.0/bias", "v-3b1.a/embeddings"} <= set(variables)
    assert [None] in shapes and [None, None] in shapes


def test_the_plan_says_where_each_weight_lies() -> None:
    bundle = compiled(SPEC)
    plan = json.loads(bundle.files["alice/keras/plan.json"])
    weights = {weight["name"] for weight in plan["weights"]}
    assert "α.a" in weights
    assert not any(name.startswith("tables.") for name in weights)
    for name in ("forward", "evaluate", "predict"):
        held = [each["weight"] for each in plan["graphs"][name]["held"]]
        assert sorted(held) == sorted(weights)
    assert plan["graphs"]["gradients"]["file"] is None
    done = {step["do"] for step in plan["programs"]["train"]}
    assert done == {"run", "send", "receive", "update", "catch_up"}


def test_backends_alone_and_together_have_one_manifest() -> None:
    from vflc.diagnostics import SourceText
    from vflc.driver import compile_source

    both = compiled(SPEC)
    alone = compile_source(SourceText("tested.vfl", granted(SPEC)), precision="float64", backends=("keras",))
    assert alone.manifest == both.manifest
    assert not any(name.endswith(".onnx") for name in alone.files)
    assert {name for name in alone.files if "keras" in name} == {
        name for name in both.files if "keras" in name
    }
    assert alone.files["keras.json"] == both.files["keras.json"]


def test_every_keras_file_counts(tmp_path: Path) -> None:
    compiled(SPEC).write(tmp_path / "b")
    folder = tmp_path / "b"
    open_bundle(folder, engine="keras")
    for file in sorted((folder / "alice" / "keras").iterdir()):
        content = file.read_bytes()
        file.write_bytes(content + b" ")
        with pytest.raises(Failure, match="was changed after it was compiled") as refused:
            open_bundle(folder, engine="keras")
        assert refused.value.code == "VFL0613" and file.name in refused.value.message
        file.write_bytes(content)
    (folder / "alice" / "keras" / "more.keras.json").write_bytes(b"")
    with pytest.raises(Failure, match="not a file of this bundle"):
        open_bundle(folder, engine="keras")
    (folder / "alice" / "keras" / "more.keras.json").unlink()
    encoders = folder / "alice" / "encoders.json"
    encoders.write_bytes(encoders.read_bytes() + b" ")
    with pytest.raises(Failure, match=r"encoders\.json was changed"):
        open_bundle(folder, engine="keras")


def test_keras_files_of_another_bundle(tmp_path: Path) -> None:
    """keras.json says of which manifest its hashes are."""
    compiled(SPEC).write(tmp_path / "b")
    listed = tmp_path / "b" / "keras.json"
    listed.write_text(listed.read_text().replace('"digest": "', '"digest": "0'))
    with pytest.raises(Failure, match="belongs to another bundle") as refused:
        open_bundle(tmp_path / "b", engine="keras")
    assert refused.value.code == "VFL0613"
    open_bundle(tmp_path / "b")
