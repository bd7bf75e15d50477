"""Vectors: so many numbers a row, from every kind of source, encoded number by number."""

import json
import re
from types import SimpleNamespace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.test_data_names import SOURCES, as_json, as_parquet
from data.test_data_reading import refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vflc_runtime.bundle.columns import check_columns
from vflc_runtime.bundle.reading import Json
from vflc_runtime.data import encoded as module
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.generate import generate
from vflc_runtime.errors import Failure
from vflc_runtime.export import encode as exported
from vflc_runtime.export.description import encoded
from vflc_runtime.export.raw import raw_columns

from vflc.cli.main import run
from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source

STANDARDIZE = {"name": "standardize", "mean": None, "std": None}
MISSING = {"name": "missing", "value": 0}


def described(encoders, width=3):
    column = {"name": "V", "kind": "feature", "type": f"vector({width})", "encoders": encoders}
    return {"parties": {"p": {"key": "k", "columns": [{**column, "shape": "vector", "rows": None}]}}}


def read(source, encoders=(), width=3, **more):
    return Dataset.load(described(list(encoders), width), {"p": source}, precision="float64", **more)


def table(values, type=None, keys=None):
    return pa.table({"k": keys or [f"{i:03}" for i in range(len(values))], "V": pa.array(values, type)})


def as_text(made, folder):
    rows = (f"{row['k']};{'' if row['V'] is None else json.dumps(row['V'])}" for row in made.to_pylist())
    (folder / "x.csv").write_text("\n".join(["k;V", *rows]) + "\n")
    return str(folder / "x.csv")


def as_query(made, folder):
    return f"SELECT k, V FROM '{as_parquet(made, folder)}'"


FLOATS = st.floats(-1e6, 1e6)
VECTORS = st.lists(st.one_of(st.none(), st.lists(FLOATS, min_size=3, max_size=3)), min_size=2, max_size=9)


@pytest.mark.parametrize("kind", ["arrow", "parquet", "json", "text", "query"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VECTORS.filter(lambda rows: any(rows)))
def test_every_source_gives_the_same_vectors(tmp_path, kind, rows):
    write = {**SOURCES, "json": as_json, "text": as_text, "query": as_query, "parquet": as_parquet}[kind]
    made = table(rows, pa.list_(pa.float64()))
    found = read(write(made, tmp_path), [MISSING]).inputs["p.V"]
    np.testing.assert_array_equal(found, [row or [0.0] * 3 for row in rows])


@pytest.mark.parametrize(
    "type",
    [
        pa.list_(pa.int8()), pa.list_(pa.uint64()), pa.list_(pa.float32()), pa.large_list(pa.float64()),
        pa.list_(pa.float64(), 3), pa.list_(pa.float32(), 3), pa.list_(pa.decimal128(21, 2)),
    ],
    ids=str,
)  # fmt: skip
def test_lists_and_arrays_of_every_type_of_number(type):
    whole = [[1, 2, 3], [4, 5, 6]]
    values = [[pa.scalar(x).cast(type.value_type).as_py() for x in row] for row in whole]
    np.testing.assert_array_equal(read(table(values, type)).inputs["p.V"], whole)


@pytest.mark.parametrize("write", [lambda t, f: t, as_parquet, as_json, as_text])
@pytest.mark.parametrize("wrong", [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], []])
def test_another_length_is_refused_with_its_row_and_key(tmp_path, write, wrong):
    made = table([[1.0, 2.0, 3.0], wrong, None], pa.list_(pa.float64()), ["a", "b", "c"])
    said = refused("VFL0603", read, write(made, tmp_path), [MISSING])
    assert "declared vector(3), but row 2 (key 'b') holds '[" in said.message and "vector(3)" in said.help


@pytest.mark.parametrize("text", ["[1, 2]", "1, 2, 3", "[1, x, 3]", "word", "[[1], 2, 3]"])
def test_text_that_is_no_vector_is_refused(tmp_path, text):
    (tmp_path / "x.csv").write_text(f"k;V\na;{text}\n")
    assert "row 1 (key 'a')" in refused("VFL0603", read, str(tmp_path / "x.csv")).message


@pytest.mark.parametrize("value", ["x", 1.0, ["x", "y", "z"], {"a": 1}, [[1.0], [2.0], [3.0]], True], ids=str)
def test_columns_that_are_no_vectors_are_refused(value):
    said = refused("VFL0603", read, pa.table({"k": ["a"], "V": [value]}))
    assert "is declared vector(3)" in said.message


def test_an_array_declared_string_is_told_its_type():
    encoders = described([{"name": "hash", "buckets": 3, "salt": None}])
    encoders["parties"]["p"]["columns"][0] |= {"type": "string", "shape": "id", "rows": 3}
    values = pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))
    said = refused("VFL0603", Dataset.load, encoders, {"p": pa.table({"k": ["a"], "V": values})})
    assert said.help == "declare it with its length: vector(2)"


def test_text_may_leave_numbers_out(tmp_path):
    (tmp_path / "x.csv").write_text("k;V\na;[1, null, 3]\nb;[NaN, 2,NULL]\nc; \nd;  [4,5.5,6e1] \n")
    found = read(str(tmp_path / "x.csv"), [MISSING]).inputs["p.V"]
    assert found.tolist() == [[1, 0, 3], [0, 2, 0], [0, 0, 0], [4, 5.5, 60]]


def test_what_is_missing_or_not_finite_is_filled_or_refused():
    made = table([[1.0, None, 3.0], [float("nan"), float("inf"), 6.0], None], pa.list_(pa.float64()))
    found = read(made, [MISSING])
    assert found.inputs["p.V"].tolist() == [[1, 0, 3], [0, 0, 6], [0, 0, 0]]
    assert found.report["encoders"]["p.V"]["missing"] == 1, "rows without a vector"
    assert "p.V has no value in" in refused("VFL0610", read, made).message


def test_a_column_without_any_value_is_filled():
    nothing = pa.table({"k": ["a", "b"], "V": pa.nulls(2)})
    if str(duckdb.from_arrow(nothing).types[1]) == "INTEGER":
        pytest.skip("this DuckDB takes a column without values for one of numbers")
    assert read(nothing, [MISSING]).inputs["p.V"].tolist() == [[0] * 3] * 2


def test_each_number_is_fitted_by_itself_whatever_the_blocks(monkeypatch):
    random = np.random.default_rng(1)
    values = random.normal([0, 50, -3], [1, 9, 0.1], (40, 3))
    values[:, 1] = 7.0
    found = read(table(values.tolist()), [STANDARDIZE])
    wanted = (values - values.mean(0)) / np.where(values.std(0) == 0, 1, values.std(0))
    np.testing.assert_allclose(found.inputs["p.V"], wanted, atol=1e-9)
    assert (found.inputs["p.V"][:, 1] == 0).all(), "what never varied tells nothing"
    (state,) = found.state["p.V"]
    np.testing.assert_allclose(state["mean"], values.mean(0))
    state = json.loads(json.dumps(found.state))
    new = table([[1.0, 2.0, 3.0]])
    again = read(new, [STANDARDIZE], state=state).inputs["p.V"]
    np.testing.assert_allclose(
        again[0, [0, 2]], ((np.array([1, 2, 3]) - values.mean(0)) / values.std(0).clip(1e-9))[[0, 2]]
    )
    assert again[0, 1] == 0
    monkeypatch.setattr(module, "BLOCK", 7)
    np.testing.assert_allclose(read(table(values.tolist()), [STANDARDIZE]).inputs["p.V"], wanted, atol=1e-9)


def test_only_training_rows_are_fitted_to():
    values = np.arange(30.0).reshape(10, 3)
    found = read(table(values.tolist()), [STANDARDIZE], keep=lambda rows, _: np.arange(4, rows))
    np.testing.assert_allclose(found.state["p.V"][0]["mean"], values[:4].mean(0))


def test_too_large_a_number_is_named():
    said = refused("VFL0506", Dataset.load, described([]), {"p": table([[1.0, 2.0, 3.0], [0.0, 1e300, 0.0]])})
    assert "p.V is 1e+300 in the row with key '001'" in said.message


def test_made_up_tables_have_vectors():
    made = generate(described([MISSING], 5), 200, 3)["p"]
    found = read(made, [MISSING], 5).inputs["p.V"]
    assert found.shape == (200, 5) and 0 < (found == 0).all(1).sum() < 100 and found.std() > 0.5


@pytest.mark.parametrize("given", [[1.0, None, float("nan")], None, "[0.5, 1, -4]", " "])
def test_an_exported_encoder_does_what_the_run_does(tmp_path, given):
    values = [[float(i), 7.0, -float(i % 4)] for i in range(20)]
    trained = read(table(values), [MISSING, STANDARDIZE])

    plan = SimpleNamespace(encoders=described([MISSING, STANDARDIZE])["parties"])
    raw = raw_columns(SimpleNamespace(plans={"p": plan}), trained.state)["p.V"].all_before()
    step = {"party": "p", "column": "V", "declared": raw.type, "computed": None, "reads": None, "rows": None}
    whole = {
        **step,
        "before": raw.before,
        "inside": [],
        "name": raw.id,
        "type": "float64",
        "shape": ["batch", 3],
    }
    whole["padding"] = None
    found = encoded({"inputs": [whole]}, [{"V": given}])["p.V"]
    numbers = (
        json.loads(given) if isinstance(given, str) and given.strip() else None if given == " " else given
    )
    now = read(table([numbers], pa.list_(pa.float64())), [MISSING, STANDARDIZE], state=trained.state)
    np.testing.assert_array_equal(found, now.inputs["p.V"])
    with pytest.raises(
        exported.RefusedValue, match=re.escape("p.V is [1], and is to be a list of 3 numbers")
    ):
        exported.typed([1], "vector(3)", "p.V")
    with pytest.raises(exported.RefusedValue, match="a list of 3 numbers"):
        exported.typed("[1, 2", "vector(3)", "p.V")


def test_a_folder_of_files_is_one_table(tmp_path):
    for i in range(2):
        pq.write_table(table([[i, 1.0, 2.0]], keys=[f"{i}"]), tmp_path / f"{i}.parquet")
    assert read(str(tmp_path)).inputs["p.V"].tolist() == [[0, 1, 2], [1, 1, 2]]


SPEC = """
party alice {
  key k
  feature V:    vector(3) -> missing(0) -> standardize
  feature Age:  float
  feature City: string -> hash(5)
}
party bob { key k  label y: int }
h = mlp(flatten(embed(alice.features, dim = 2)), [3])
n = dense(concat(alice.numbers), 2)
logit = dense(mlp(concat(h, n), [2]), 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
release alice { to bob: V, Age, City }
release bob { to alice: y }
train { batch 8  epochs 2 }
"""


def test_a_model_with_a_vector_is_the_same_by_all_engines(tmp_path, monkeypatch):
    """Keras among them, so that this file runs where TensorFlow is imported: tests/order.py."""
    (tmp_path / "x.vfl").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    assert run(["verify", "x.vfl", "--steps", "5", "--json"]) == 0


def test_embed_of_a_vector_is_a_product_with_a_matrix():
    model = compile_source(SourceText("x.vfl", SPEC)).model
    kernel = model.graph["h.embed.V" if "h.embed.V" in model.graph else "h.V"]
    assert kernel.type.sizes == (3, 2) and str(model.graph["alice.V"].type) == "[3]"


@pytest.mark.parametrize(
    ("column", "code", "help"),
    [
        ("feature V: vector", "VFL0204", "vector(128)"),
        ("feature V: vector(0)", "VFL0204", "vector(128)"),
        ("feature V: vector(70_000)", "VFL0204", "at most 65,536"),
        ("feature V: vector(2.5)", "VFL0204", "vector(128)"),
        ("feature V: vectr(3)", "VFL0204", "vector(128)"),
        ("feature V: float(3)", "VFL0204", "float"),
        ("feature V: vector(3) -> hash(3)", "VFL0204", "only encoders from numbers to numbers"),
        ("feature V: vector(3) -> bucketize(3)", "VFL0204", "only encoders from numbers to numbers"),
        ("label V: vector(3)", "VFL0021", "a column of its own"),
        ("weight V: vector(3)", "VFL0021", "a column of its own"),
        ("column V: vector(3)", "VFL0021", "a column of its own"),
        ("feature V: vector(3) feature M = is_missing(V)", "VFL0021", "a column of its own"),
        ("feature V: vector(3) feature M = V + 1", "VFL0021", "a column of its own"),
    ],
)
def test_what_a_vector_cannot_be_is_said(column, code, help):
    text = SPEC.replace("feature Age:  float", column.replace("V", "W"))
    with pytest.raises(Refused) as caught:
        compile_source(SourceText("x.vfl", text))
    found = caught.value.diagnostics[0]
    assert found.code == code and help in found.help, found


def test_a_bundle_with_a_vector_that_cannot_be_one_is_refused():
    for kind in ("vector(0)", "vector(99999)", "vector(3", "list(int)"):
        with pytest.raises(Failure) as caught:
            check_columns(_changed(kind), ())
        assert caught.value.code == "VFL0613"


def _changed(type):
    document = described([])
    document["parties"]["p"]["columns"][0]["type"] = type
    return SimpleNamespace(json=lambda name: Json(document, "encoders.json"))
