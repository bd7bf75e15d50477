"""Inputs, owners, preprocessing layers and embeddings of imported models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from importing_testing import predictions
from keras_backend.keras_testing import needs_tensorflow

from vflc.importing.keras_columns import COLUMN_LAYERS

pytestmark = needs_tensorflow
CITY = ["Oslo", "Rome", "Ulm", "Oslo", "Lima", "Rome"]
AGE = [18.0, 30.5, 42.0, 65.0, 25.0, 25.5]
CLASS = [3, 7, 9, 3, 7, 3]
PAST = [[1, 2, 3], [4, 4, 4], [0, 1, 0], [2, 3, 1], [0, 0, 0], [4, 3, 2]]
OWNERS = {"alice": ["City", "past{1..2}", "Age"], "bob": ["class", "past3"]}
TABLES: dict[str, dict[str, Any]] = {
    "alice": {"City": CITY, "Age": AGE, "past1": [p[0] for p in PAST], "past2": [p[1] for p in PAST]},
    "bob": {"class": CLASS, "past3": [p[2] for p in PAST], "liked": [0, 1, 0, 1, 1, 0]},
}


def check(model: Any, folder: Path) -> str:
    rng = np.random.default_rng(5)
    for weight in model.trainable_weights:
        weight.assign(rng.uniform(-1.0, 1.0, weight.shape))
    import tensorflow as tf

    given = {
        "City": tf.constant(CITY)[:, None], "Age": np.array(AGE, "float32")[:, None],
        "class": np.array(CLASS), "past": np.array(PAST),
    }  # fmt: skip
    text, (found,) = predictions(model, OWNERS, {"bob": ["liked"]}, TABLES, folder)
    wanted = model.predict([given[i.name] for i in model.inputs], verbose=0)
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=2e-4, atol=2e-5, err_msg=text)
    return text


def inputs() -> tuple[Any, Any, Any, Any]:
    import keras

    return (
        keras.Input((1,), dtype="string", name="City"),
        keras.Input((1,), name="Age"),
        keras.Input((), dtype="int64", name="class"),
        keras.Input((3,), dtype="int32", name="past"),
    )


def test_every_way_into_a_model(tmp_path: Path) -> None:
    """Columns looked up, hashed, cut and normalised; one in two ways; a table that two inputs read."""
    import keras
    from keras import layers as k

    city, age, class_, past = inputs()
    lookup = k.StringLookup()
    lookup.adapt(["Oslo", "Rome", "Rome"])
    normal = k.Normalization(axis=None)
    normal.adapt(np.array(AGE))
    ages = k.Embedding(4, 3)(k.Discretization([20.0, 30.0, 50.0])(age))
    items = k.Embedding(5, 3, name="items")
    coded = k.IntegerLookup(vocabulary=[3, 7, 9], num_oov_indices=0)(class_)
    parts = [
        k.Flatten()(k.Embedding(lookup.vocabulary_size(), 3)(lookup(city))),
        k.Flatten()(k.Embedding(11, 3)(k.Hashing(11)(city))),
        k.Flatten()(ages),
        normal(age),
        k.CategoryEncoding(3, output_mode="one_hot")(coded),
        k.GlobalAveragePooling1D()(items(past)),
        k.Flatten()(k.Embedding(5, 2)(past)),
        k.StringLookup(vocabulary=["Rome", "Ulm"], output_mode="one_hot")(city),
    ]
    logit = k.Dense(1)(k.Dense(6, "relu")(k.Concatenate()(parts)))
    text = check(keras.Model([city, age, class_, past], logit), tmp_path)
    assert 'feature City_1 = City -> vocab("Rome", "Oslo", default = other)' in text
    assert "feature City_2 = City -> hash(11)" in text
    assert "items_table = table(5, 3)" in text


def test_fields_side_by_side_are_one_embed(tmp_path: Path) -> None:
    """A factorization machine over fields of two parties: their sum, their stack, and one after another."""
    import keras
    from keras import layers as k
    from keras import ops

    city, age, class_, past = inputs()
    fields = [
        k.Flatten()(k.Embedding(6, 4)(k.Hashing(6)(city))),
        k.Embedding(10, 4)(class_),
    ]
    total = k.Add()(fields)
    pairs = (
        ops.sum(ops.square(total), axis=1, keepdims=True)
        - ops.sum(ops.square(ops.stack(fields, axis=1)), axis=(1, 2))[:, None]
    )
    deep = k.Dense(1)(k.Concatenate()([*fields, k.Dense(2)(past), age]))
    text = check(keras.Model([city, age, class_, past], 0.5 * pairs + deep), tmp_path)
    assert re.search(r"^e += embed\(\[alice.City, bob.class\], dim = 4\)$", text, re.MULTILINE)
    assert "sum(square(sum(e, axis = field))) - sum(square(e))" in text


def test_every_layer_of_columns_has_a_case() -> None:
    text = Path(__file__).read_text("utf-8")
    assert all(f"k.{kind}(" in text for kind in COLUMN_LAYERS)


def test_a_sequential_model_of_columns_of_two_parties(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential(
        [keras.Input((3,), name="past"), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)]
    )
    owners = {"alice": ["past1", "past2"], "bob": ["past3"]}
    text, (found,) = predictions(model, owners, {"bob": ["liked"]}, TABLES, tmp_path)
    wanted = model.predict(np.array(PAST, "float32"), verbose=0)
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)
    assert "mlp(" not in text
    assert "dense(concat(alice.features + [bob.past3]), 4, activation = relu)" in text


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_ids_without_a_type_are_whole_numbers(dtype: str, tmp_path: Path) -> None:
    """Keras's `Input` is float32 unless told otherwise; an `Embedding` makes whole numbers of it."""
    import keras

    given = keras.Input((1,), dtype=dtype, name="class")
    y = keras.layers.Dense(1)(keras.layers.Flatten()(keras.layers.Embedding(10, 3)(given)))
    model = keras.Model(given, y)
    tables = {"bob": TABLES["bob"]}
    text, (found,) = predictions(model, {"bob": ["class"]}, {"bob": ["liked"]}, tables, tmp_path)
    wanted = model.predict(np.array(CLASS)[:, None], verbose=0)
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)
    assert "feature class: int -> index(10)" in text


TEXTS = [
    "Good film", "", "   ", "  good   FILM!  ", "bad\tfilm\nbad", "Émile was GOOD, É", "nothing of it",
    "it's good", "[UNK] good", "good\u00a0film good", "bad-film", "ß GOOD İ", "a b c d e f good", "good good",
    "good\x0bfilm\x0cbad", "日本 good。", "\x1cgood\x1c", "_good_ [bad] ^film^ {its}",
]  # fmt: skip
LISTED = ["good", "film", "bad", "its", "émile", "nothing"]
VECTORIZED: dict[str, dict[str, Any]] = {
    "ids": {"output_sequence_length": 5},
    "ids of texts as they are": {"output_sequence_length": 3, "standardize": None},
    "lowered": {"output_sequence_length": 4, "standardize": "lower"},
    "one": {"output_sequence_length": 1},
    "counts": {"output_mode": "count"},
    "which": {"output_mode": "multi_hot", "standardize": "strip_punctuation"},
}


@pytest.mark.parametrize("case", VECTORIZED)
def test_texts_become_what_keras_makes_of_them(case: str, tmp_path: Path) -> None:
    """Blanks in a row, none at all, letters that are not ASCII, words that are not listed."""
    import keras
    import tensorflow as tf
    from keras import layers as k

    keras.utils.set_random_seed(1)
    settings = VECTORIZED[case]
    ids, length = "output_mode" not in settings, settings.get("output_sequence_length")
    text = keras.Input((1,) if ids else (), dtype="string", name="Text")
    x = k.TextVectorization(vocabulary=LISTED, **settings)(text)
    if ids:
        e = k.Embedding(len(LISTED) + 2, 3, name="e")(x)
        x = k.Concatenate()([k.GlobalAveragePooling1D()(e), k.Flatten()(e)])
    model = keras.Model(text, k.Dense(1)(x))
    table = {"Text": TEXTS, "y": np.arange(len(TEXTS)) / 2}
    written, (found,) = predictions(model, {"alice": ["Text"]}, {"alice": ["y"]}, {"alice": table}, tmp_path)
    wanted = np.asarray(model(tf.constant(TEXTS)[:, None] if ids else tf.constant(TEXTS)))
    np.testing.assert_allclose(found.reshape(-1), wanted.reshape(-1), rtol=1e-5, atol=1e-6, err_msg=written)
    assert "words" in written and (f"pad({length})" in re.sub(r"\s|,(?=\s*\))", "", written)) == ids
