"""Bad input of `vflc import`: a coded diagnostic that says what to do, exit code 1, nothing written."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras_backend.keras_testing import needs_tensorflow

from vflc.cli.main import run as vflc
from vflc.diagnostics import Refused
from vflc.importing import archive, keras_container
from vflc.importing.run import import_model


def layer(
    kind: str, name: str, reads: list[str], module: str = "keras.layers", **config: Any
) -> dict[str, Any]:
    """A layer of one use as Keras writes it."""
    args = [{"class_name": "__keras_tensor__", "config": {"keras_history": [each, 0, 0]}} for each in reads]
    nodes = [{"args": [args] if len(args) > 1 else args, "kwargs": {}}] if args else []
    return {
        "module": module,
        "class_name": kind,
        "config": {"name": name, **config},
        "name": name,
        "inbound_nodes": nodes,
    }


def dense(name: str, *reads: str, **config: Any) -> dict[str, Any]:
    settings = {
        "units": 1,
        "activation": "linear",
        "use_bias": True,
        "kernel_initializer": "GlorotUniform",
        "bias_initializer": "Zeros",
        "trainable": True,
    }
    return layer("Dense", name, list(reads), **{**settings, **config})


def given_input(name: str, *shape: Any, **config: Any) -> dict[str, Any]:
    return layer("InputLayer", name, [], **{"batch_shape": [None, *shape], "dtype": "float32", **config})


def functional(*layers: dict[str, Any], output: str = "y") -> dict[str, Any]:
    inputs = [[e["name"], 0, 0] for e in layers if e["class_name"] == "InputLayer"]
    config = {
        "name": "model",
        "layers": list(layers),
        "input_layers": inputs,
        "output_layers": [output, 0, 0],
    }
    return {"module": "keras", "class_name": "Functional", "config": config}


def plain() -> dict[str, Any]:
    return functional(
        given_input("Age", 1),
        given_input("x", 3),
        dense("a", "Age", units=4),
        dense("b", "x", units=4),
        layer("Concatenate", "joined", ["a", "b"], axis=-1),
        dense("y", "joined"),
    )


def write(folder: Path, config: Any) -> Path:
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", config if isinstance(config, (str, bytes)) else json.dumps(config))
    return path


def run(path: Path, *arguments: str) -> tuple[int, Path]:
    out = path.parent / "spec.vfl"
    usual = ("--owner", "alice=Age", "--owner", "bob=x", "--label", "bob=liked")
    return vflc(["import", str(path), "-o", str(out), *(arguments or usual)]), out


def refused(path: Path, capsys: Any, *arguments: str) -> str:
    code, out = run(path, *arguments)
    said = capsys.readouterr().err
    assert code == 1 and not out.exists(), said
    assert "= help: " in said
    return str(said)


def test_what_is_right_is_written(tmp_path: Path, capsys: Any) -> None:
    code, out = run(write(tmp_path, plain()))
    assert code == 0, capsys.readouterr().err
    assert vflc(["check", str(out)]) == 0 and vflc(["fmt", "--check", str(out)]) == 0


OWNERS = {
    "no input of that name": (("--owner", "alice=age", "--owner", "bob=x"), "did you mean `Age`?"),
    "a column that is not there": (("--owner", "alice=Age", "--owner", "bob=x{1..4}"), "no input `x4`"),
    "an input without an owner": (("--owner", "alice=Age"), "no party owns `x{1..3}`"),
    "a column without an owner": (("--owner", "alice=Age,x1", "--owner", "bob=x3"), "no party owns `x2`"),
    "two owners": (("--owner", "alice=Age,x", "--owner", "bob=x2"), "`x2` has two owners, alice and bob"),
    "no owners": ((), "nobody owns"),
}


@pytest.mark.parametrize("case", OWNERS)
def test_owners_that_do_not_match(case: str, tmp_path: Path, capsys: Any) -> None:
    arguments, message = OWNERS[case]
    said = refused(write(tmp_path, plain()), capsys, *arguments, "--label", "bob=liked")
    assert "error[VFL0702]" in said and message in said


def test_every_wrong_owner_is_named_at_once(tmp_path: Path, capsys: Any) -> None:
    arguments = ("--owner", "alice=Agee,x1", "--owner", "bob=x1,z", "--label", "bob=liked")
    assert refused(write(tmp_path, plain()), capsys, *arguments).count("error[VFL0702]") == 4


def test_a_label_that_is_an_input(tmp_path: Path, capsys: Any) -> None:
    said = refused(write(tmp_path, plain()), capsys, "--owner", "alice=Age,x", "--label", "alice=Age")
    assert "error[VFL0702]" in said


def test_no_label(tmp_path: Path, capsys: Any) -> None:
    assert "error[VFL0704]" in refused(write(tmp_path, plain()), capsys, "--owner", "alice=Age,x")


@pytest.mark.parametrize("owner", ["alice", "alice=", "=Age", "al ice=Age", "alice=Age,,x"])
def test_an_option_that_is_no_owner_is_a_matter_of_usage(owner: str, tmp_path: Path, capsys: Any) -> None:
    code, out = run(write(tmp_path, plain()), "--owner", owner, "--label", "bob=y")
    assert code == 2 and not out.exists() and "PARTY=COLUMN" in capsys.readouterr().err


LAYERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "Lambda": (
        layer("Lambda", "twice", ["x"], function="…"),
        "VFL0701",
        "code that is part of the file is not run",
    ),
    "own class": (layer("Tower", "own", ["x"], module="my.layers"), "VFL0701", "a class of the model's own"),
    "own Dense": (layer("Dense", "own", ["x"], module="my.layers"), "VFL0701", "a class of the model's own"),
    "numbers as text": (layer("TextVectorization", "tags", ["x"]), "VFL0701", "`tags` splits numbers"),
    "RNN": (layer("SimpleRNN", "memory", ["x"], units=3), "VFL0701", "`memory` is a SimpleRNN"),
    "LSTM of numbers": (layer("LSTM", "memory", ["x"], units=3), "VFL0700", "reads 1 axes a row"),
    "LSTM of stars": (layer("LSTM", "m", ["x"], units="*"), "VFL0700", "reads 1 axes a row"),
    "GRU of old": (layer("GRU", "g", ["x"], units=3, reset_after=False), "VFL0701", "reset_after = False"),
    "backwards": (layer("GRU", "g", ["x"], units=3, go_backwards=True), "VFL0701", "go_backwards = True"),
    "channels first": (
        layer("Conv1D", "c", ["x"], filters=2, kernel_size=[2], data_format="channels_first"),
        "VFL0701",
        "data_format = 'channels_first'",
    ),
    "groups": (layer("Conv2D", "c", ["x"], filters=2, kernel_size=2, groups=2), "VFL0701", "groups = 2"),
    "attention of one": (
        layer("MultiHeadAttention", "m", ["x", "x"], num_heads=2, key_dim=2),
        "VFL0701",
        "does not read a query and values",
    ),
    "slopes": (layer("PReLU", "p", ["x"], shared_axes=[1]), "VFL0701", "shared_axes = [1]"),
    "frozen": (dense("b", "x", trainable=False), "VFL0701", "`b` (Dense) is frozen"),
    "penalty": (
        dense("b", "x", kernel_regularizer={"class_name": "Orthogonal"}),
        "VFL0701",
        "kernel_regularizer = Orthogonal",
    ),
    "half precision": (dense("b", "x", dtype="mixed_float16"), "VFL0701", "computes in mixed_float16"),
    "unknown setting": (dense("b", "x", sparsity=0.5), "VFL0701", "`sparsity`"),
    "initializer": (dense("b", "x", kernel_initializer="Orthogonal"), "VFL0701", "starts with Orthogonal"),
    "activation": (dense("b", "x", activation="hard_tanh"), "VFL0701", "the activation `hard_tanh`"),
    "units": (dense("b", "x", units="many"), "VFL0700", "units = many"),
    "along the batch": (layer("Concatenate", "b", ["x", "x"], axis=0), "VFL0703", "along the batch"),
    "into the batch": (
        layer("Reshape", "b", ["x"], target_shape=[2]),
        "VFL0703",
        "are not the values of one row",
    ),
    "mean of the batch": (
        layer("Mean", "b", ["x"], "keras.src.ops.numpy", axis=None),
        "VFL0703",
        "`b` works along the batch",
    ),
    "rows of the batch": (
        layer("Reshape", "b", ["x"], "keras.src.ops.numpy", newshape=[3, -1]),
        "VFL0703",
        "mixes rows",
    ),
    "ids of numbers": (
        layer("Embedding", "b", ["a"], input_dim=3, output_dim=2, embeddings_initializer="Zeros"),
        "VFL0701",
        "reads ids that the model computes",
    ),
    "mask": (
        layer(
            "Embedding", "b", ["x"], input_dim=3, output_dim=2, embeddings_initializer="Zeros", mask_zero=True
        ),
        "VFL0701",
        "mask_zero = True",
    ),
    "nothing": (dense("b", "nowhere"), "VFL0700", "reads a value that the model does not make"),
}


@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_that_cannot_be_expressed_is_named(case: str, tmp_path: Path, capsys: Any) -> None:
    bad, code, message = LAYERS[case]
    bad["config"]["name"] = bad["name"]
    model = functional(
        given_input("Age", 1),
        given_input("x", 3),
        dense("a", "Age", units=3),
        bad,
        layer("Concatenate", "joined", ["a", bad["name"]], axis=-1),
        dense("y", "joined"),
    )
    said = refused(write(tmp_path, model), capsys)
    assert f"error[{code}]" in said and message in said


TEXTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "n-grams": ({"ngrams": 2}, "VFL0701", "`words` (TextVectorization) has ngrams = 2"),
    "a function": ({"standardize": {"config": "mine"}}, "VFL0701", "standardizes texts by a function of its"),
    "letters": ({"split": "character"}, "VFL0701", "splits texts by split = character"),
    "weights": ({"output_mode": "tf_idf", "idf_weights": [1.0]}, "VFL0701", "output_mode='count'"),
    "as long as the longest": ({"output_sequence_length": None}, "VFL0703", "output_sequence_length"),
    "nothing listed": ({"vocabulary": None}, "VFL0701", "`words` has no vocabulary"),
    "no list": ({"vocabulary": [1, 2]}, "VFL0700", "not a list of values"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_what_no_encoder_makes_of_texts_is_named(case: str, tmp_path: Path, capsys: Any) -> None:
    config, code, message = TEXTS[case]
    usual = {"vocabulary": ["good", "bad"], "output_sequence_length": 4, "output_mode": "int", "ngrams": None}
    made = {"input_dim": 4, "output_dim": 2, "embeddings_initializer": "Zeros"}
    model = functional(
        given_input("Age", 1, dtype="string"),
        layer("TextVectorization", "words", ["Age"], **{**usual, **config}),
        layer("Embedding", "e", ["words"], **made),
        layer("Flatten", "flat", ["e"]),
        dense("y", "flat"),
    )
    said = refused(write(tmp_path, model), capsys)
    assert f"error[{code}]" in said and message in said


def test_all_layers_without_a_counterpart_are_named_at_once(tmp_path: Path, capsys: Any) -> None:
    model = functional(
        given_input("Age", 1),
        given_input("x", 3),
        layer("Conv3D", "cut", ["x"]),
        layer("Lambda", "f", ["Age"]),
        dense("y", "cut"),
    )
    said = refused(write(tmp_path, model), capsys)
    assert "`cut` is a Conv3D" in said and "`f` is a Lambda layer" in said and "2 errors" in said


def test_models_that_multiply_inside_each_other(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file whose models are used twice inside models that are used twice: bounded."""
    monkeypatch.setattr(keras_container, "MOST_CALLS", 500)

    def twice(depth: int) -> dict[str, Any]:
        below = dense("in", "x", units=3) if depth == 0 else {**twice(depth - 1), "name": "in"}
        uses = [{"args": [tensor(name)], "kwargs": {}} for name in ("x", "x")]
        ends = {
            **layer("Add", "y", []),
            "inbound_nodes": [{"args": [[tensor("in"), tensor("in", 1)]], "kwargs": {}}],
        }
        return functional(given_input("x", 3), {**below, "inbound_nodes": uses}, ends)

    model = functional(
        given_input("Age", 1),
        given_input("x", 3),
        {**twice(10), "name": "many", "inbound_nodes": [{"args": [tensor("x")], "kwargs": {}}]},
        layer("Concatenate", "joined", ["Age", "many"], axis=-1),
        dense("y", "joined"),
    )
    assert "uses its layers more than 500 times" in refused(write(tmp_path, model), capsys)


def tensor(name: str, use: int = 0) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, use, 0]}}


ODD = {
    "user id": "alice.user_id",
    "1st": "alice.x1st",
    "größe": "alice.größe",
    "alice": "alice.alice",
    "label": "alice.label",
}


@pytest.mark.parametrize("name", ODD)
def test_inputs_of_odd_names(name: str, tmp_path: Path, capsys: Any) -> None:
    model = functional(given_input(name, 1), dense("dense", name, units=2), dense("y", "dense"))
    code, out = run(write(tmp_path, model), "--owner", f"alice={name}", "--label", "bob=liked")
    assert code == 0, capsys.readouterr().err
    assert ODD[name] in out.read_text("utf-8")


def test_a_column_named_as_the_list_of_all(tmp_path: Path, capsys: Any) -> None:
    """`alice.features` is then the column, so that the list names each."""
    model = functional(
        given_input("features", 1),
        given_input("Age", 1),
        layer("Concatenate", "both", ["features", "Age"], axis=-1),
        dense("y", "both"),
    )
    code, out = run(write(tmp_path, model), "--owner", "alice=features,Age", "--label", "bob=liked")
    assert code == 0, capsys.readouterr().err
    assert "concat(alice.features, alice.Age)" in out.read_text("utf-8")


INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "open axis": (given_input("x", None), "axes of no fixed size"),
    "fixed batch": (given_input("x", 3, batch_shape=[32, 3]), "fixes the batch to 32"),
    "sparse": (given_input("x", 3, sparse=True), "sparse, ragged or optional"),
    "matrix": (given_input("x", 3, 2), "of 2 axes a row"),
    "huge": (given_input("x", 10**9), "axes of no fixed size"),
}


@pytest.mark.parametrize("case", INPUTS)
def test_an_input_that_is_no_column(case: str, tmp_path: Path, capsys: Any) -> None:
    entry, message = INPUTS[case]
    said = refused(
        write(tmp_path, functional(entry, dense("y", "x"))), capsys, "--owner", "bob=x", "--label", "bob=y"
    )
    assert message in said


def test_a_file_that_is_not_there(tmp_path: Path, capsys: Any) -> None:
    assert "VFL0700" in refused(tmp_path / "no.keras", capsys)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_file_that_is_no_archive(content: bytes, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    assert "VFL0700" in refused(path, capsys)


@pytest.mark.parametrize(
    "config", ["", "[]", "{", "null", "{}", '{"class_name": 3}', "[" * 100_000, b"\xff\xfe"]
)
def test_a_configuration_that_is_none(config: Any, tmp_path: Path, capsys: Any) -> None:
    assert "VFL070" in refused(write(tmp_path, config), capsys)


def test_a_folder(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "model.keras").mkdir()
    assert "VFL0700" in refused(tmp_path / "model.keras", capsys)


def test_a_truncated_archive(tmp_path: Path, capsys: Any) -> None:
    whole = write(tmp_path, plain()).read_bytes()
    path = tmp_path / "model.keras"
    for length in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:length])
        assert "VFL0700" in refused(path, capsys)


def test_an_entry_that_unpacks_to_more_than_is_allowed(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is of what is unpacked, whatever the archive's directory says of its size."""
    monkeypatch.setattr(archive, "MOST_CONFIG", 1000)
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", " " * 1_000_000)
    assert "of more than 1,000 bytes" in refused(path, capsys)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_configuration_never_ends_in_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    """Any value of the configuration replaced by something else: a spec, or a diagnostic."""
    config = plain()
    spots: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            spots.append((node, key))
            if isinstance(value, (dict, list)):
                walk(value)

    walk(config)
    node, key = data.draw(st.sampled_from(spots))
    node[key] = data.draw(
        st.sampled_from([None, -1, 0, 2.5, "", "x", [], {}, [[]], True, 10**30, {"a": 1}, ["x", 0, 0]])
    )
    path = write(tmp_path, config)
    try:
        import_model(path, {"alice": ["Age"], "bob": ["x"]}, {"bob": ["liked"]})
    except Refused as error:
        assert all(found.code.startswith("VFL0") for found in error.diagnostics)


def test_the_output_is_not_overwritten(tmp_path: Path, capsys: Any) -> None:
    path = write(tmp_path, plain())
    (tmp_path / "spec.vfl").write_text("mine")
    code, out = run(path)
    assert code == 1 and out.read_text() == "mine" and "VFL0623" in capsys.readouterr().err
    assert (
        vflc(
            ["import", str(path), "-o", str(path), "--force", "--owner", "alice=Age,x", "--label", "alice=y"]
        )
        == 1
    )


@needs_tensorflow
def test_weights_that_do_not_fit_the_model(tmp_path: Path, capsys: Any) -> None:
    """An adapted layer's numbers are read from the weights; a link out of the file is not followed."""
    import h5py
    import keras

    given = keras.Input((1,), name="Age")
    normal = keras.layers.Normalization(axis=None)
    normal.adapt(np.array([1.0, 2.0]))
    keras.Model(given, keras.layers.Dense(1)(normal(given))).save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as file:
        config = file.read("config.json")
    changes: dict[str, Callable[[Any], Any]] = {
        "gone": lambda group: group.clear(),
        "text": lambda group: (group.clear(), group.create_dataset("0", data="text")),
        "many": lambda group: (group.clear(), group.create_dataset("0", data=[1.0, 2.0])),
        "nan": lambda group: (group.clear(), group.create_dataset("0", data=float("nan"))),
        "link": lambda group: (group.clear(), group.update({"0": h5py.ExternalLink("/etc/passwd", "/x")})),
    }
    for name, change in changes.items():
        weights = tmp_path / f"{name}.h5"
        with zipfile.ZipFile(tmp_path / "whole.keras") as file:
            weights.write_bytes(file.read("model.weights.h5"))
        with h5py.File(weights, "r+") as file:
            change(file["layers/normalization/vars"])
        path = tmp_path / "model.keras"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("config.json", config)
            file.write(weights, "model.weights.h5")
        assert "VFL070" in refused(path, capsys, "--owner", "alice=Age", "--label", "alice=y"), name
