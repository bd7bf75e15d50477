"""Operators of ai.onnx.ml in front of a model, as scikit-learn's exports have them: encoders of the spec."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_testing import both, model, node, write

from vflc.diagnostics import Refused
from vflc.importing.run import import_model

ML = "ai.onnx.ml"
CITY = ["Oslo", "Rome", "Ulm", "", "Lima", "oslo"]
TABLE: dict[str, Any] = {
    "City": CITY,
    "Sex": ["F", "M", "M", "F", "X", ""],
    "Kind": [3, 7, 9, 7, 3, 9],
    "Code": [7, 5, 4, 0, 5, 9],
    "x1": [1.0, np.nan, 3.0, -2.5, 0.0, 1e3],
    "x2": [0.5, 0.25, np.nan, np.nan, 8.0, -1.0],
    "x3": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
}


def encoders() -> onnx.ModelProto:
    """Ids and ones and zeros of texts and of whole numbers; numbers filled and scaled, each by its own."""
    given = {
        "City": ("string", 1),
        "Sex": ("string",),
        "Kind": ("int64", 1),
        "Code": ("int64",),
        "x": ("float", 3),
    }
    nodes = [
        node("OneHotEncoder", "City", "city", domain=ML, cats_strings=["Rome", "Oslo", "Ulm"], zeros=1),
        node("Reshape", "city wide", "cities"),
        node("LabelEncoder", "Sex", "sex", domain=ML, keys_strings=["M", "F"], values_int64s=[2, 1],
             default_int64=0),
        node("Gather", "sexes sex", "s"),
        node("OneHotEncoder", "Kind", "kind", domain=ML, cats_int64s=[3, 7, 9], zeros=0),
        node("Reshape", "kind wide", "kinds"),
        node("LabelEncoder", "Code", "code", domain=ML, keys_int64s=[4, 7, 5], values_int64s=[0, 2, 1],
             default_int64=1),
        node("Gather", "codes code", "c"),
        node("Imputer", "x", "filled", domain=ML, imputed_value_floats=[0.5, -1.0, 2.0],
             replaced_value_float=float("nan")),
        node("Scaler", "filled", "scaled", domain=ML, offset=[1.0, 0.0, 3.5], scale=[0.5, 2.0, 0.1]),
        node("Concat", "cities s kinds c scaled", "all", axis=1),
        node("Gemm", "all kernel bias", "h"),
        node("Sigmoid", "h", "y"),
    ]  # fmt: skip
    rng = np.random.default_rng(3)
    weights = {
        "wide": np.array([-1, 3]), "sexes": rng.normal(size=(3, 2)).astype("float32"),
        "codes": rng.normal(size=(3, 2)).astype("float32"),
        "kernel": rng.normal(size=(13, 1)).astype("float32"), "bias": np.zeros(1, "float32"),
    }  # fmt: skip
    made = model(given, ["y"], nodes, weights)
    made.opset_import.append(helper.make_opsetid(ML, 3))
    return made


OWNERS = {"alice": ["City", "Sex", "x1", "x2"], "bob": ["Kind", "Code", "x3"]}


def test_encoders_of_every_kind(tmp_path: Path) -> None:
    """Values that are not listed, missing numbers, and a file that the parties share as its columns."""
    spec, (found,), (wanted,) = both(write(tmp_path, encoders()), OWNERS, {"bob": ["y"]}, TABLE, tmp_path)
    np.testing.assert_allclose(found.reshape(-1), wanted.reshape(-1), rtol=1e-5, atol=1e-6)
    text = re.sub(r"  +", " ", spec.text)
    for line in (
        'feature City: string -> vocab("Rome", "Oslo", "Ulm", default = other)',
        'feature Sex: string -> vocab("F", "M", default = other)',
        "feature x1: float -> missing(0.5) -> standardize(mean = 1, std = 2)",
        "feature Kind: int -> vocab(3, 7, 9)",
        "feature Code: int -> vocab(4, 5, 7, default = 5)",
        "feature x3: float -> missing(2) -> standardize(mean = 3.5, std = 10)",
    ):
        assert line in text, text


def one(op: str, kind: str = "string", before: str = "", **attrs: Any) -> onnx.ModelProto:
    """A model that begins with one operator, or with another and that one."""
    nodes = [node(before, "a", "b")] if before else []
    nodes += [
        node(op, "b" if before else "a", "c", domain=ML, **attrs),
        node("Cast", "c", "d", to=1),
        node("ReduceSum", "d last", "y", keepdims=1),
    ]
    made = model({"a": (kind, 2)}, ["y"], nodes, {"last": np.array([1])})
    made.opset_import.append(helper.make_opsetid(ML, 3))
    return made


WRONG: dict[str, tuple[onnx.ModelProto, str]] = {
    "no counterpart": (
        one("TreeEnsembleRegressor", "float"),
        "`c` (ai.onnx.ml.TreeEnsembleRegressor) has no",
    ),
    "numbers of texts": (
        one("LabelEncoder", keys_strings=["a"], values_floats=[0.5]),
        "whole numbers for texts",
    ),
    "no ids": (one("LabelEncoder", keys_strings=["a", "b"], values_int64s=[3, 9]), "[3, 9]"),
    "a value twice": (one("LabelEncoder", keys_strings=["a", "a"], values_int64s=[0, 1]), "a value twice"),
    "ids for numbers": (
        one("LabelEncoder", keys_strings=["a", "b"], values_int64s=[0, 1]),
        "ids of categories",
    ),
    "more keys": (one("LabelEncoder", keys_strings=["a", "b"], values_int64s=[0]), "whole numbers for texts"),
    "computed": (
        one("Scaler", "float", "Relu", offset=[0.0], scale=[1.0]),
        "encodes what the model computes",
    ),
    "no scale": (one("Scaler", "float", offset=[0.0], scale=[0.0]), "a scale of 0"),
    "three of two": (
        one("Scaler", "float", offset=[0.0, 1.0, 2.0], scale=[1.0]),
        "3 numbers in offset for 2",
    ),
    "zeros replaced": (
        one("Imputer", "float", imputed_value_floats=[1.0], replaced_value_float=0.0),
        "that are not missing",
    ),
    "texts scaled": (one("Scaler", offset=[0.0], scale=[1.0]), "computes with what is no number"),
    "nothing listed": (one("OneHotEncoder"), "lists no values"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_encoder_is_named(case: str, tmp_path: Path) -> None:
    made, message = WRONG[case]
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(Refused) as refused:
        import_model(tmp_path / "m.onnx", {"alice": ["a"]}, {"bob": ["y"]})
    (found,) = refused.value.diagnostics
    assert found.code in ("VFL0701", "VFL0707", "VFL0709") and message in found.message, found.message
    assert found.help


def test_a_column_is_followed_over_any_number_of_nodes(tmp_path: Path) -> None:
    names = ["x", *(f"v{i}" for i in range(3000)), "end"]
    nodes = [node("Identity", one, other) for one, other in pairwise(names)]
    nodes += [node("Gemm", "end kernel", "y")]
    kernel = np.array([[1.0], [2.0]], "float32")
    path = write(tmp_path, model({"x": ("float", 2)}, ["y"], nodes, {"kernel": kernel}))
    table = {"x1": [1.0, 0.5], "x2": [0.0, 4.0]}
    _, (found,), (wanted,) = both(path, {"alice": ["x1", "x2"]}, {"alice": ["y"]}, table, tmp_path)
    np.testing.assert_allclose(found.reshape(-1), wanted.reshape(-1), rtol=1e-6)
