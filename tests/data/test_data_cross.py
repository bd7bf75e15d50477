"""`cross`: one text of several columns, the same in a run, in what is exported, and as TensorFlow has it."""

import json

import pyarrow as pa
import pytest
from data.test_data_expressions import call, column, number, op
from data.test_data_reading import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_common.expressions import columns, type_of
from vflc_runtime.bundle.columns import check_columns
from vflc_runtime.bundle.reading import Json
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.expressions import evaluate
from vflc_runtime.data.generate import generate
from vflc_runtime.export import encode as exported

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source

SPEC = """
party alice {
  key k
  column  City: string
  column  Day:  int
  column  Paid: float
  feature Both = CROSS -> hash(50)
}
party bob { key k  label y: int }
h = mlp(embed(alice.Both, dim = 2), [3])
logit = dense(h, 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
release alice { to bob: Both }
release bob { to alice: y }
"""
TYPES = {"t": "string", "n": "int", "a": "float"}
PARTS = st.sampled_from(
    [
        column("t"),
        column("n"),
        {"string": "Ö"},
        number(-4),
        call("lower", column("t")),
        call("floor", op("/", column("a"), number(3))),
        op("-", column("n"), number(1)),
    ]
)
TEXTS = st.none() | st.text(max_size=4)
WHOLE = st.none() | st.integers(-(2**63), 2**63 - 1)
REALS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200, deadline=None)
@given(st.lists(PARTS, min_size=2, max_size=4), TEXTS, WHOLE, REALS)
def test_a_run_and_an_exported_encoder_cross_alike(parts, text, whole, real):
    tree = call("cross", *parts)
    row = {"t": None if text is None else exported.text_of(text), "n": whole, "a": real}
    kinds = {"t": pa.string(), "n": pa.int64(), "a": pa.float64()}
    arrays = {name: pa.array([row[name]], kind) for name, kind in kinds.items()}
    found = evaluate(tree, arrays, 1)[0].as_py()
    assert found == exported.computed(tree, TYPES, row.get)
    if any(row[name] is None for name in columns(tree)):
        assert found is None
    elif {*columns(tree)} <= {"t", "n"} and all("op" not in part for part in parts):
        values = [evaluate(part, arrays, 1)[0].as_py() for part in parts]
        assert found == "_X_".join(map(str, values))
    assert type_of(tree, TYPES) == "string"


def described(cross):
    files = compile_source(SourceText("x.vfl", SPEC.replace("CROSS", cross))).files
    return json.loads(files["alice/encoders.json"])


def test_combinations_have_ids_of_their_own():
    cities, days = ["Oslo", "Rom", None, "Oslo"], [1, 1, 1, 2]
    table = pa.table({"k": ["a", "b", "c", "d"], "City": cities, "Day": days})
    said = refused("VFL0610", Dataset.load, described("cross(City, Day)"), {"alice": table})
    assert "alice.Both has no value in 1 of 4 rows" in said.message
    ids = Dataset.load(described("cross(City, Day)"), {"alice": table.take([0, 1, 3])}).inputs["alice.Both"]
    made = ["Oslo_X_1", "Rom_X_1", "Oslo_X_2"]
    alone = pa.table({"k": ["a", "b", "d"], "City": made, "Day": [1, 1, 2]})
    assert (
        ids.tolist() == Dataset.load(described("strip(City)"), {"alice": alone}).inputs["alice.Both"].tolist()
    )
    assert len(set(ids.tolist())) == 3


def test_tables_are_made_up_for_it():
    encoders = described("cross(City, floor(Paid / 10))")
    assert Dataset.load(encoders, generate(encoders, 100, 0)).rows == 100


@pytest.mark.parametrize(
    ("cross", "code", "says"),
    [
        ("cross(City)", "VFL0107", "two columns or more"),
        ("cross()", "VFL0107", "two columns or more"),
        ("cross(City, x = Day)", "VFL0107", "without names"),
        ("cross(City, Paid)", "VFL0204", "texts and whole numbers"),
        ("cross(City, Paid > 1)", "VFL0204", "texts and whole numbers"),
        ("cross(City, Towns)", "VFL0105", "no column"),
    ],
)
def test_what_cannot_be_crossed_is_said(cross, code, says):
    with pytest.raises(Refused) as caught:
        described(cross)
    assert caught.value.diagnostics[0].code == code and says in caught.value.diagnostics[0].message


def test_text_that_is_added_is_told_of_it():
    with pytest.raises(Refused) as caught:
        described('City + "_" + City')
    assert caught.value.diagnostics[0].help == "text can only be compared, and crossed: cross(City, Gender)"


def test_what_is_crossed_is_learned_of_all_its_columns():
    manifest = compile_source(SourceText("x.vfl", SPEC.replace("CROSS", "cross(City, Day)"))).manifest
    learned = {
        (row["receiver"], row["column"]) for row in manifest["learned"] if row["bound"]["kind"] == "code"
    }
    assert {("bob", "City"), ("bob", "Day")} <= learned


@pytest.mark.parametrize(
    "parts", [[], [column("City")], [column("City"), column("Paid")], [column("City"), {}]]
)
def test_a_bundle_that_crosses_otherwise_is_refused(parts):
    document = described("cross(City, Day)")
    columns_ = document["parties"]["alice"]["columns"]
    columns_.append({"name": "Paid", "kind": "column", "type": "float"})
    next(each for each in columns_ if each["name"] == "Both")["value"]["args"] = parts

    class Files:
        def json(self, name):
            return Json(document, name)

    refused("VFL0613", check_columns, Files(), ())
