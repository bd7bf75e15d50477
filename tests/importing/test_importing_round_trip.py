"""A spec, trained, exported to Keras and imported again: the same model, with the same weights.

Examples go by way of ONNX, too, from the same run.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from importing.importing_testing import session
from importing.test_importing_onnx_round_trip import HERE_ALONE, check_file
from keras_backend.keras_testing import loaded_here, needs_tensorflow
from library.library_specs import spec as of_block
from specs.examples import MERGED, SAME, few_fields
from vflc_common.arrays import Array
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.generate import generate
from vflc_runtime.export import keras as exporting
from vflc_runtime.export.run import export
from vflc_runtime.run import loading
from vflc_runtime.run.session import Session
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.train import TrainOptions, train
from vflc_runtime.run.trained import trained_session

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source
from vflc.importing.archive import Archive
from vflc.importing.keras_config import entries_of, paths_of
from vflc.importing.keras_weights import WeightsFile
from vflc.importing.run import WrittenSpec, import_model, weights_of

pytestmark = needs_tensorflow
BLOCKS = ("BiasedMF", "DCN stacked", "PNN", "TwoTower dot")
"""Blocks of the library with layers that no example has."""
ALIKE = {*SAME, *HERE_ALONE}
"""Merged they are as another one: noise is no part of a file, mmoe_splitrec has layers of mmoe and
deepfm_splitrec alone, three_parties those of deepfm, and the two others those of multiclass."""
UNLIKE = [name for name in MERGED if name not in ALIKE]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Exports are tried in this process: that they need nothing of vflc is looked at elsewhere.

    Nothing is traced, since nothing runs more than once.
    """
    from vflc_runtime.engines.keras_setup import tensorflow

    config = tensorflow().tf.config
    monkeypatch.setattr(exporting, "_load_elsewhere", loaded_here)
    config.run_functions_eagerly(True)
    yield
    config.run_functions_eagerly(False)


def exported(text: str, folder: Path, unsplit: bool = False) -> Path:
    """The merged Keras file of a spec that was trained on generated rows."""
    source, backends = SourceText("model.vfl", text), ("onnx", "keras")
    compile_source(source, backends=backends, unsplit=unsplit).write(folder / "bundle")
    tables = generate(loading.encoders(Session(folder / "bundle", threads=1).bundle), 60, 4)
    train(folder / "bundle", tables, folder / "run", TrainOptions(epochs=1, batch=32, threads=1))
    export(folder / "run", folder / "out", "keras", merged=True, sources=tables)
    return folder / "out" / "model.keras"


def predicted(made: Session, fitted: Mapping[str, Any] | None, tables: Any) -> dict[str, Array]:
    described = loading.encoders(made.bundle)
    data = Dataset.load(described, {party: tables[party] for party in described["parties"]}, fitted, False)
    return {name: np.array(value) for name, value in made.predict(data.batch(np.arange(data.rows))).items()}


def check(text: str, folder: Path, unsplit: bool = False) -> WrittenSpec:
    """Both models predict the same for new rows, and have the same weights."""
    path = exported(text, folder, unsplit)
    spec = import_model(path, {}, {})
    run = RunFolder(folder / "run")
    trained, again = trained_session(run, "predict", "onnx", 1), session(spec, path, folder / "again")
    tables = generate(loading.encoders(trained.bundle), 50, 9)
    wanted = predicted(trained, run.fitted(trained.bundle), tables)
    found = predicted(again, None, tables)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert np.std(values) > 0
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6)
    check_weights(spec, path, trained.weights())
    return spec


def check_weights(spec: WrittenSpec, path: Path, weights: Mapping[str, Array]) -> None:
    """Every weight of the run is one of the spec, in a layer that has its name."""
    archive, left = Archive(path), dict(weights)
    entries = entries_of(archive.config)
    layers = dict(zip(paths_of(entries, ""), (str(entry["name"]) for entry in entries), strict=True))
    held = WeightsFile(archive)
    given = weights_of(path, spec)
    assert given.keys() == spec.weights.keys()
    for name, at in spec.weights.items():
        layer, last = layers[at.rpartition("/vars/")[0]], name.rpartition(".")[2]
        value = left.pop(layer if layer in left else f"{layer}.{last}")
        np.testing.assert_array_equal(held.read(at).reshape(value.shape), value)
        np.testing.assert_array_equal(given[name].reshape(value.shape), value)
    assert not left


@pytest.mark.parametrize("name", UNLIKE)
def test_example(name: str, tmp_path: Path) -> None:
    check(few_fields(name), tmp_path)
    tables = generate(loading.encoders(Session(tmp_path / "bundle", threads=1).bundle), 60, 4)
    export(tmp_path / "run", tmp_path / "onnx", "onnx", merged=True, sources=tables)
    check_file(tmp_path / "onnx" / "model.onnx", tmp_path)


@pytest.mark.parametrize("name", BLOCKS)
def test_block_of_the_library(name: str, tmp_path: Path) -> None:
    check(of_block(name), tmp_path, unsplit=True)


def test_columns_of_one_name(tmp_path: Path) -> None:
    """Their tables are told apart as the language does, and bottoms of both parties are one block."""
    spec = check(
        """
        party a { key ID  feature c: int -> vocab(1..5)  feature d: float }
        party b { key ID  feature c: int -> vocab(1..7)  feature d: float  label y: int }
        block Bottom(fields) {
          e = embed(fields, dim = 3)
          first = sum(embed(fields, dim = 1))
          return { first = first, deep = mlp(flatten(e), [4, 3]), v = sum(e, axis = field) }
        }
        u = Bottom(a.features)
        v = Bottom(b.features)
        e = embed([a.c, b.c], dim = 2)
        logit = dense(mlp(concat(flatten(e), u.deep, v.deep, u.v * v.v), [4]), 1) + u.first + v.first
        predict y = sigmoid(logit)
        objective bce(logit, b.y)
        train { optimizer adam(lr = 0.01)  batch 16 }
        release a { to b: c, d }
        release b { to a: c, d, y }
        """,
        tmp_path,
    )
    assert {"e.c", "e.c_2", "u.e.c", "u.e.d", "v.deep.mlp.1.kernel"} < spec.weights.keys()
    assert "u = Bottom(a.features)" in re.sub(" +", " ", spec.text)


def test_what_reads_ids_one_by_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        import_model(exported(of_block("DIN"), tmp_path, unsplit=True), {}, {})
    (found,) = refused.value.diagnostics
    assert found.code == "VFL0701" and found.message.startswith("`logit")


# --- what a file says of itself is not believed -----------------------------------------------------

SMALL = """
party a {
  key ID
  column  n: int
  feature s: string -> strip -> vocab("x", "y", default = "y")
  feature m: string -> missing("q") -> split("|") -> hash(7, salt = [1, 2])
  feature half = n // 2 -> vocab(0..9, default = other)
  feature z: float  -> missing(1.5) -> log1p -> standardize
  feature w: int    -> index(5, default = other)
}
party b {
  key ID
  feature v: float -> clip(-1, 2) -> minmax
  column  t: string
  label   y = not (t == "a" or t == "b")
}
logit = dense(mlp(concat(flatten(embed([a.s, a.m, a.half, a.w], dim = 2)), one_hot(a.m), a.z, b.v), [3]), 1)
        + embed(a.m, dim = 1, combiner = mean)
predict y = sigmoid(logit)
objective bce(logit, b.y)
train { optimizer rmsprop(lr = 0.01)  batch 16  metrics auc }
release a { to b: s, m, half, z, w }
release b { to a: v, y }
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "_load_elsewhere", loaded_here)
        check(SMALL, folder)
    return folder / "out" / "model.keras"


def test_the_parties_come_back_as_they_were(file: Path) -> None:
    text = import_model(file, {}, {}).text
    for line in (
        'feature s: string -> strip -> vocab("x", "y", default = "y")',
        'feature m: string -> missing("q") -> split("|") -> hash(7, salt = [1, 2])',
        "feature half = n // 2 -> vocab(0..9, default = other)",
        "feature w: int -> index(5, default = other)",
        'label y = not (t == "a" or t == "b")',
        "optimizer rmsprop(lr = 0.01)",
    ):
        assert line in re.sub(r"  +", " ", text)
    again = compile_source(SourceText("again.vfl", text))
    assert again.manifest["parties"][0]["features"] == ["s", "m", "half", "z", "w"]


def changed(file: Path, folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Path:
    """The archive with other entries; a change gives the content of the description, or changes both."""
    path = folder / "changed.keras"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w") as new:
        entries = {name: old.read(name) for name in old.namelist()}
        config, tables = (json.loads(entries[name]) for name in ("config.json", "vflc.json"))
        said = change(config, tables)
        entries["config.json"] = json.dumps(config).encode()
        entries["vflc.json"] = said if isinstance(said, bytes) else json.dumps(tables).encode()
        for name, content in entries.items():
            new.writestr(name, content)
    return path


def layer(config: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(e for e in config["config"]["layers"] if e["name"] == name)
    return found


def column(tables: dict[str, Any], party: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in tables["parties"][party]["columns"] if c["name"] == name)
    return found


Change = Callable[[dict[str, Any], dict[str, Any]], Any]
OTHERWISE: dict[str, Change] = {
    "another vocabulary": lambda c, t: column(t, "a", "s")["encoders"][1].update(values=["x", "q"]),
    "another default": lambda c, t: column(t, "a", "s")["encoders"][1].update(default={"value": "x"}),
    "another key": lambda c, t: column(t, "a", "m")["encoders"][2].update(salt=[1, 3]),
    "another mean": lambda c, t: column(t, "a", "z")["encoders"][2].update(mean=5.0),
    "another filling": lambda c, t: column(t, "a", "z")["encoders"][0].update(value=2.5),
    "one less": lambda c, t: column(t, "a", "z")["encoders"].pop(1),
    "another layer": lambda c, t: layer(c, "a.s.lookup")["config"].update(vocabulary=["y", "x"]),
    "another hash": lambda c, t: layer(c, "a.m.hashing")["config"].update(num_bins=6),
    "a setting that nobody knows": lambda c, t: layer(c, "a.m.hashing")["config"].update(more=1),
    "another bound": lambda c, t: layer(c, "b.v.clip")["config"].update(x_max=3.0),
    "a class of its own": lambda c, t: layer(c, "b.v.clip").update(module="mine"),
    "another input": lambda c, t: layer(c, "a.s")["config"].update(dtype="float32"),
    "no such column": lambda c, t: column(t, "a", "s").update(name="other"),
    "not JSON": lambda c, t: b"{",
    "nothing": lambda c, t: b"{}",
    "no parties": lambda c, t: t.update(parties=[]),
    "a label that is none": lambda c, t: t.update(labels={"y": "b.t"}),
    "a version to come": lambda c, t: t.update(version=2),
    "lines in a name": lambda c, t: column(t, "b", "t").update(name='t: int }\nparty mallory {'),
    "lines in a key": lambda c, t: t["parties"]["a"].update(key="ID }"),
    "an encoder that nobody has": lambda c, t: column(t, "a", "s")["encoders"][1].update(name="eval"),
    "nothing fitted": lambda c, t: column(t, "a", "z")["encoders"][2].update(mean=None),
    "deep": lambda c, t: b'{"version":1,"labels":{},"parties":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}  # fmt: skip


@pytest.mark.parametrize("change", OTHERWISE)
def test_a_description_that_is_not_of_the_graph_is_refused(change: str, file: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        import_model(changed(file, tmp_path, OTHERWISE[change]), {}, {})
    (found,) = refused.value.diagnostics
    assert found.code in ("VFL0712", "VFL0701"), found.message
    assert found.help


def test_owners_are_for_files_that_do_not_say_them(file: Path) -> None:
    with pytest.raises(Refused, match="VFL0713"):
        import_model(file, {"a": ["a.s"]}, {"b": ["y"]})


PLAIN = """
party a { key ID  feature s: string -> vocab("x", "y", default = other)  feature h: string -> hash(7) }
party b { key ID  feature u: string -> vocab("p", "q")  label y: int }
logit = dense(mlp(flatten(embed(a.features + [b.u], dim = 2)), [3]), 1)
predict y = sigmoid(logit)
objective bce(logit, b.y)
release a { to b: s, h }
release b { to a: u, y }
"""


def test_a_file_that_keras_saved_again_is_like_any_other(tmp_path: Path) -> None:
    from vflc_runtime.engines.keras_setup import tensorflow

    keras, path = tensorflow().keras, tmp_path / "again.keras"
    keras.models.load_model(exported(PLAIN, tmp_path), compile=False).save(path)
    text = re.sub(r"  +", " ", import_model(path, {"a": ["a.s", "a.h"], "b": ["b.u"]}, {"b": ["y"]}).text)
    for line in (
        'feature a_s: string -> vocab("x", "y", default = other)',
        "feature a_h: string -> hash(7)",
        'feature b_u: string -> vocab("p", "q")',
        "objective bce(",
    ):
        assert line in text
