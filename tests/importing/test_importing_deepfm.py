"""The Keras DeepFM of the benchmarks: imported, split by the compiler, trained as Keras itself trains it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from importing_testing import session
from keras_backend.keras_testing import needs_tensorflow

from vflc.importing.archive import Archive
from vflc.importing.keras_weights import WeightsFile
from vflc.importing.run import import_model

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
OWNERS = {"alice": ["UserID", "Gender", "Age", "Occupation"], "bob": ["MovieID", "Genres"]}


@needs_tensorflow
def test_ten_steps_of_sgd_are_those_of_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, from the same weights and on the same rows, to 1e-6 in every weight."""
    import keras

    monkeypatch.syspath_prepend(BENCHMARKS)
    peer = import_module("peers.keras")
    sizes = {"a": {**peer.SIZES["a"], "UserID": 40}, "b": {**peer.SIZES["b"], "MovieID": 30}}
    monkeypatch.setattr(peer, "SIZES", sizes)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # it does not follow, once a layer has been made
    try:
        model = peer.deepfm()
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.05), loss)
        rng = np.random.default_rng(1)
        for weight in model.weights:
            weight.assign(rng.normal(0, 0.2, weight.shape))
        model.save(tmp_path / "before.keras")
        spec = import_model(tmp_path / "before.keras", OWNERS, {"bob": ["liked"]})
        made = session(spec, tmp_path / "before.keras", tmp_path / "bundle", "float64")
        for _ in range(10):
            ids = [
                rng.integers(0, size, 64)
                for use in sizes
                for field, size in sizes[use].items()
                if field != "Genres"
            ]
            genres, liked = rng.integers(0, 2, (64, 18)).astype("float64"), rng.integers(0, 2, 64)
            model.train_on_batch([*ids, genres], liked.astype("float64")[:, None])
            names = ("alice.UserID", "alice.Gender", "alice.Age", "alice.Occupation", "bob.MovieID")
            given = {name: values.astype("int32") for name, values in zip(names, ids, strict=True)}
            given |= {f"bob.Genres{i + 1}": genres[:, i : i + 1] for i in range(18)}
            made.step({**given, "bob.liked": liked.astype("float64")[:, None]}, 64)
        model.save(tmp_path / "after.keras")
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    after, found = WeightsFile(Archive(tmp_path / "after.keras")), made.weights()
    assert set(found) == set(spec.weights)
    for name, at in spec.weights.items():
        np.testing.assert_allclose(found[name], after.read(at), rtol=0, atol=1e-6, err_msg=name)
    crossing = {e.sender for e in made.bundle.manifest.edges.values() if e.phase == "forward"}
    assert crossing == {"alice"}, "alice's part of the model crosses, to where the label is"


@needs_tensorflow
def test_penalties_are_those_of_keras(tmp_path: Path) -> None:
    """L1 and L2 on a kernel that is cut and on all rows of a table; three steps of SGD in float64."""
    import keras
    from keras import layers as k
    from keras.regularizers import L1, L1L2, L2

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # it does not follow, once a layer has been made
    try:
        x = keras.Input((2,), name="x")
        item, other = (keras.Input((), dtype="int32", name=name) for name in ("i", "o"))
        e = [k.Embedding(6, 3, embeddings_regularizer=L2(0.02))(each) for each in (item, other)]
        h = k.Dense(4, "relu", kernel_regularizer=L1L2(0.01, 0.03))(k.Concatenate()([x, *e]))
        model = keras.Model([x, item, other], k.Dense(1, kernel_regularizer=L1(0.05))(h))
        model.compile(keras.optimizers.SGD(0.1), "mse")
        rng = np.random.default_rng(1)
        for weight in model.weights:
            weight.assign(rng.normal(0, 0.5, weight.shape))
        model.save(tmp_path / "before.keras")
        owners = {"alice": ["x"], "bob": ["i", "o"]}
        spec = import_model(tmp_path / "before.keras", owners, {"bob": ["y"]})
        made = session(spec, tmp_path / "before.keras", tmp_path / "bundle", "float64")
        for _ in range(3):
            numbers, ids, y = rng.normal(size=(8, 2)), rng.integers(0, 4, (2, 8)), rng.normal(size=(8, 1))
            model.train_on_batch([numbers, *ids], y)
            given = {f"alice.x{i + 1}": numbers[:, i : i + 1] for i in range(2)}
            given |= {name: own.astype("int32") for name, own in zip(("bob.i", "bob.o"), ids, strict=True)}
            made.step({**given, "bob.y": y}, 8)
        model.save(tmp_path / "after.keras")
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    after, found = WeightsFile(Archive(tmp_path / "after.keras")), made.weights()
    for name, at in spec.weights.items():
        np.testing.assert_allclose(found[name], after.read(at), rtol=0, atol=1e-7, err_msg=spec.text)
