"""Data sets: opened, aligned, encoded; in memory or in files, in one block or many."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vflc_runtime.data import encoded as module
from vflc_runtime.data.batches import Order, split
from vflc_runtime.data.dataset import CommonRows, Dataset
from vflc_runtime.data.generate import generate
from vflc_runtime.errors import Failure

WHERE = {"file": "spec.vfl", "line": 5, "column": 3, "end_column": 9, "text": "  feature x"}
GENRES = {"name": "vocab", "values": ["Action", "War"], "default": "other"}


def feature(name, type, encoders, shape, **more):
    kind = more.pop("kind", "feature")
    return {
        "name": name,
        "kind": kind,
        "type": type,
        "encoders": encoders,
        "shape": shape,
        "where": WHERE,
        **more,
    }


def liked(tree=None):
    value = tree or {"op": ">", "args": [{"column": "Rating"}, {"number": 3}]}
    return {
        "name": "liked",
        "kind": "label",
        "value": value,
        "encoders": [],
        "shape": "number",
        "where": WHERE,
    }


def encoders():
    return {
        "parties": {
            "alice": {
                "key": "ID",
                "where": WHERE,
                "columns": [
                    feature("UserID", "string", [{"name": "hash", "buckets": 97}], "id", rows=97),
                    feature("Age", "float", [{"name": "standardize", "mean": None, "std": None}], "number"),
                ],
            },
            "bob": {
                "key": "ID",
                "where": WHERE,
                "columns": [
                    {"name": "Rating", "kind": "column", "type": "int", "where": WHERE},
                    feature("Genres", "string", [{"name": "split", "separator": "|"}, GENRES], "ids", rows=3),
                    liked(),
                ],
            },
        }
    }


def tables():
    alice = pa.table({"ID": [4, 2, 3, 1], "UserID": ["d", "b", "c", "a"], "Age": [9.0, 20.0, 30.0, 10.0]})
    bob = pa.table(
        {
            "ID": ["3", "1", "2", "9"],
            "Rating": [5, 3, 4, 1],
            "Genres": ["War|Action|War", None, "Noir", "War"],
        }
    )
    return {"alice": alice, "bob": bob}


def refused(code, *args, **options):
    with pytest.raises(Failure) as caught:
        Dataset.load(*args, **options)
    assert caught.value.code == code, str(caught.value)
    return caught.value


def same(a, b):
    assert a.keys.equals(b.keys) and a.report == b.report and a.state == b.state
    assert list(a.inputs) == list(b.inputs)
    for name, array in a.inputs.items():
        assert array.dtype == b.inputs[name].dtype
        np.testing.assert_array_equal(array, b.inputs[name])


def test_two_parties_become_one_data_set():
    data = Dataset.load(encoders(), tables())
    assert data.rows == 3 and data.keys.to_pylist() == ["1", "2", "3"]
    assert data.inputs["alice.UserID"].dtype == np.int32 and data.inputs["alice.UserID"].shape == (3,)
    spread = np.sqrt(200 / 3)
    np.testing.assert_allclose(
        data.inputs["alice.Age"], np.array([[-10], [0], [10]]) / spread, rtol=1e-6, atol=1e-7
    )
    assert data.inputs["alice.Age"].dtype == np.float32
    assert data.inputs["bob.Genres"].tolist() == [[-1, -1, -1], [0, -1, -1], [2, 1, 2]]
    assert data.inputs["bob.liked"].tolist() == [[0.0], [1.0], [1.0]]
    assert data.report == {
        "parties": {
            "alice": {"rows": 4, "kept": 3, "dropped": 1},
            "bob": {"rows": 4, "kept": 3, "dropped": 1},
        },
        "encoders": {
            "alice.UserID": {"unknown": 0, "missing": 0, "examples": []},
            "alice.Age": {"unknown": 0, "missing": 0, "examples": []},
            "bob.Genres": {"unknown": 1, "missing": 1, "examples": ["Noir"]},
            "bob.liked": {"unknown": 0, "missing": 0, "examples": []},
        },
    }
    assert data.state == {"alice.Age": [{"mean": 20.0, "std": pytest.approx(spread)}]}
    batch = data.batch(np.array([2, 0]))
    assert batch["bob.liked"].tolist() == [[1.0], [0.0]]


def test_prediction_uses_what_training_fitted_and_no_labels():
    spec, given = encoders(), tables()
    state = json.loads(json.dumps(Dataset.load(spec, given).state))
    alone = {"parties": {"alice": spec["parties"]["alice"]}}
    new = pa.table({"ID": [7], "UserID": ["a"], "Age": [40.0]})
    data = Dataset.load(alone, {"alice": new}, state, labels=False)
    assert data.inputs["alice.Age"][0, 0] == pytest.approx(20 / np.sqrt(200 / 3)) and data.state == state
    given["bob"] = given["bob"].drop_columns(["Rating"])
    data = Dataset.load(spec, given, state, labels=False)
    assert "bob.liked" not in data.inputs and data.rows == 3
    assert list(Dataset.load(spec, given, state, only={"bob.Genres"}).inputs) == ["bob.Genres"]
    assert refused("VFL0602", spec, given, state).where == WHERE
    assert refused("VFL0613", spec, given, {}).where == WHERE


def test_encoders_are_fitted_to_the_training_rows_alone():
    spec, given = encoders(), generate(encoders(), 500, 3)
    data = Dataset.load(
        spec, given, keep=lambda rows, _: Order(rows, 1, 0.2, 10).held_out, precision="float64"
    )
    train, held_out = split(500, 1, 0.2)
    ages = data.inputs["alice.Age"]
    assert abs(ages[train].mean()) < 1e-12 and abs(ages[train].std() - 1) < 1e-12
    assert abs(ages[held_out].mean()) > 1e-6


def test_blocks_and_files_change_nothing(monkeypatch):
    spec, given = encoders(), generate(encoders(), 9000, 4)
    state = Dataset.load(spec, given).state
    whole = Dataset.load(spec, given, state)
    monkeypatch.setattr(module, "BLOCK", 2048)
    blocks = Dataset.load(spec, given, state)
    files = Dataset.load(spec, given, state, in_memory=0, memory_limit=64 << 20)
    assert isinstance(files.inputs["bob.Genres"], np.memmap)
    same(whole, blocks)
    same(whole, files)
    in_parts = Dataset.load(spec, given).state["alice.Age"][0]
    assert in_parts == pytest.approx(state["alice.Age"][0], rel=1e-12)


def test_lists_of_different_lengths_are_padded_alike_in_memory_and_in_files(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2048)
    rows = 6000
    texts = ["|".join(["War"] * (i // 2048)) for i in range(rows)]
    spec = {"parties": {"bob": {**encoders()["parties"]["bob"]}}}
    given = {
        "bob": pa.table({"ID": [f"{i:05d}" for i in range(rows)], "Genres": texts, "Rating": [5] * rows})
    }
    memory, files = Dataset.load(spec, given), Dataset.load(spec, given, in_memory=0)
    same(memory, files)
    assert memory.inputs["bob.Genres"].shape == (rows, 2)
    assert ((memory.inputs["bob.Genres"] == 2).sum(1) == np.arange(rows) // 2048).all()


def test_what_a_column_takes_is_counted_as_wide_as_it_is(monkeypatch):
    """One row of 3,000 values makes the column 1,500 times as large as its rows are by themselves."""
    monkeypatch.setattr(module, "BLOCK", 64)
    texts = ["War"] * 200 + ["|".join(["War"] * 3000)] + ["War"] * 55
    ids = [f"{i:05d}" for i in range(256)]
    spec = {"parties": {"bob": {**encoders()["parties"]["bob"]}}}
    given = {"bob": pa.table({"ID": ids, "Genres": texts, "Rating": [5] * 256})}
    size = 256 * 3000 * 4
    narrow = Dataset.load(spec, given, in_memory=size)
    assert isinstance(narrow.inputs["bob.Genres"], np.memmap)
    assert not isinstance(narrow.inputs["bob.liked"], np.memmap)
    whole = Dataset.load(spec, given, in_memory=2 * size)
    assert not isinstance(whole.inputs["bob.Genres"], np.memmap)
    same(narrow, whole)
    assert whole.report["encoders"]["bob.Genres"]["widest"] == 3000
    assert whole.report["encoders"]["bob.Genres"]["mean"] == round((255 + 3000) / 256, 1)
    given["bob"] = pa.table({"ID": ids, "Genres": ["War|" * 70] * 256, "Rating": [5] * 256})
    assert "widest" not in Dataset.load(spec, given).report["encoders"]["bob.Genres"]


def test_a_full_disk_while_encoding_is_said(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.Path, "open", full)
    assert "No space left" in refused("VFL0612", encoders(), tables(), in_memory=0).message


def test_parties_without_data_and_data_without_parties():
    given = tables()
    assert "--data bob=SOURCE" in refused("VFL0618", encoders(), {"alice": given["alice"]}).help
    assert "alice, bob" in refused("VFL0618", encoders(), {**given, "carol": given["alice"]}).help
    assert "did you mean bob?" in refused("VFL0618", encoders(), {**given, "bobb": given["bob"]}).help


def test_labels_made_of_several_columns_and_of_each_other():
    happy = {
        "op": "and",
        "args": [{"column": "liked"}, {"op": ">", "args": [{"column": "Age"}, {"number": 1}]}],
    }
    spec = {
        "parties": {
            "p": {
                "key": "ID",
                "columns": [
                    {"name": "Rating", "kind": "column", "type": "int"},
                    feature("Age", "float", [], "number"),
                    liked(),
                    {**liked(happy), "name": "happy"},
                ],
            }
        }
    }
    table = pa.table({"ID": [1, 2, 3], "Rating": [5, 5, 1], "Age": [0.0, 2.0, 2.0]})
    data = Dataset.load(spec, {"p": table})
    assert data.inputs["p.happy"].tolist() == [[0.0], [1.0], [0.0]]
    gap = pa.table({"ID": [1, 2, 3], "Rating": [5, None, 1], "Age": [0.0, 2.0, 2.0]})
    failure = refused("VFL0610", spec, {"p": gap})
    assert failure.where == WHERE and "p.liked" in failure.message and "'2'" in failure.message


@pytest.mark.parametrize("rows", [1, 2, 7, 300])
@pytest.mark.parametrize("seed", [0, 1])
def test_generated_rows_fit_the_spec(rows, seed):
    everything = encoders()
    missing, other = {"name": "missing", "value": 1}, {"name": "vocab", "values": [3, 9], "default": "other"}
    everything["parties"]["carol"] = {
        "key": "row",
        "columns": [
            feature("row", "int", [{"name": "hash", "buckets": 5}], "id", rows=5),
            feature(
                "v", "string", [{"name": "vocab", "values": ["F", "M", "ü"], "default": None}], "id", rows=3
            ),
            feature(
                "n", "int", [missing, {"name": "vocab", "values": [1, 2], "default": None}], "id", rows=2
            ),
            feature("o", "int", [other], "id", rows=3),
            feature("i", "int", [{"name": "index", "n": 9}], "id", rows=9),
            feature("b", "float", [{"name": "bucketize", "edges": [-1, 0, 50]}], "id", rows=4),
            feature("z", "float", [{"name": "missing", "value": 0}, {"name": "log1p"}], "number"),
            feature(
                "s", "string", [{"name": "split", "separator": " "}, {"name": "hash", "buckets": 4}], "ids"
            ),
            feature("click", "int", [], "number", kind="label"),
            feature("cls", "string", [{"name": "vocab", "values": ["x", "y"]}], "id", kind="label", rows=2),
            {"name": "text", "kind": "column", "type": "string"},
            {"name": "pay", "kind": "column", "type": "float"},
            {
                **liked({"op": "==", "args": [{"column": "text"}, {"string": "Never-married"}]}),
                "name": "single",
            },
            {**liked({"call": "log", "args": [{"column": "pay"}]}), "name": "logpay"},
            {**liked({"call": "is_missing", "args": [{"column": "i"}]}), "name": "gone", "kind": "column"},
        ],
    }
    made = generate(everything, rows, seed)
    assert made == generate(everything, rows, seed)
    data = Dataset.load(everything, made)
    assert data.rows == rows and all(p["dropped"] == 0 for p in data.report["parties"].values())
    if rows == 300:
        for label in ("bob.liked", "carol.click", "carol.cls", "carol.single", "carol.logpay"):
            assert len(np.unique(data.inputs[label])) > 1, label
        for name, values in (
            ("carol.v", 3),
            ("carol.o", 3),
            ("carol.i", 9),
            ("carol.b", 4),
            ("bob.Genres", 4),
        ):
            assert len(np.unique(data.inputs[name])) == values, name
        assert data.report["encoders"]["carol.o"]["unknown"] and data.report["encoders"]["carol.n"]["missing"]
        orders = {tuple(table.column(0).to_pylist()) for table in made.values()}
        assert len(orders) == 3


def test_generated_rows_differ_by_seed_and_survive_a_file(tmp_path):
    one, two = generate(encoders(), 50, 1), generate(encoders(), 50, 2)
    assert one != two
    for party, table in one.items():
        pa.csv.write_csv(table, tmp_path / f"{party}.csv")
    from_files = Dataset.load(encoders(), {party: tmp_path / f"{party}.csv" for party in one})
    data = Dataset.load(encoders(), one)
    for name, array in data.inputs.items():
        np.testing.assert_array_equal(array, from_files.inputs[name])


VALUES = st.one_of(
    st.none(),
    st.sampled_from(["", "1", "2", "3", "1.5", "a", "War", "War|x", "nan", "-1", "é"]),
    st.text(max_size=3),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), names=st.permutations(["ID", "UserID", "Age", "Rating", "Genres"]))
def test_whatever_the_tables_hold_the_answer_is_a_data_set_or_a_coded_failure(tmp_path, data, names):
    names = names[: data.draw(st.integers(3, 5))]
    rows = data.draw(st.lists(st.tuples(*[VALUES] * len(names)), max_size=4))
    table = pa.table({n: pa.array([row[i] for row in rows], pa.string()) for i, n in enumerate(names)})
    file = tmp_path / "rows.csv"
    pa.csv.write_csv(table, file)
    try:
        loaded = Dataset.load(encoders(), {"alice": table, "bob": file})
        assert all(len(array) == loaded.rows for array in loaded.inputs.values())
    except Failure as failure:
        assert failure.code.startswith("VFL06") and failure.message and failure.help


WIDE = """
import re, sys
from pathlib import Path
from vflc_runtime.data.dataset import Dataset
names = [f"x{i}" for i in range(int(sys.argv[2]))]
chain = [{"name": "missing", "value": 0}, {"name": "standardize", "mean": None, "std": None}]
kind = {"kind": "feature", "type": "float", "encoders": chain, "shape": "number"}
columns = [{"name": name, **kind} for name in names]
data = Dataset.load({"parties": {"p": {"key": "ID", "columns": columns}}}, {"p": sys.argv[1]})
assert abs(data.inputs[f"p.{names[-1]}"].std() - 1) < 1e-3 and len(data.inputs) == len(names)
# The peak of this program alone: `ru_maxrss` begins with what the process had that started it.
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def test_thousands_of_columns_take_no_gigabytes(tmp_path):
    """One query over 800 columns of text took 600 MB; the bound is far from both."""
    numbers = np.random.default_rng(0).normal(size=(40, 800))
    lines = [",".join(["ID", *(f"x{i}" for i in range(800))])]
    lines += [",".join([str(i), *map(str, row)]) for i, row in enumerate(numbers)]
    (tmp_path / "wide.csv").write_text("\n".join(lines))
    command = [sys.executable, "-c", WIDE, str(tmp_path / "wide.csv"), "800"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400, done.stdout


@pytest.mark.parametrize("count", [1, 49, 50, 51, 120])
def test_columns_in_several_queries_are_those_of_one(count, monkeypatch):
    rows = 30
    random = np.random.default_rng(count)
    keys = random.permutation(rows)
    table = pa.table({"ID": keys, **{f"x{i}": random.normal(size=rows) for i in range(count)}})
    columns = [feature(f"x{i}", "float", [], "number") for i in range(count)]
    spec = {"parties": {p: {"key": "ID", "columns": columns} for p in "ab"}}
    given = {"a": table, "b": table.slice(3)}
    data = Dataset.load(spec, given, precision="float64")
    kept = sorted(range(3, rows), key=lambda i: str(keys[i]))
    for i in range(count):
        assert data.inputs[f"a.x{i}"][:, 0].tolist() == table[f"x{i}"].take(pa.array(kept)).to_pylist()
        assert (data.inputs[f"a.x{i}"] == data.inputs[f"b.x{i}"]).all()
    alone = {"parties": {"a": spec["parties"]["a"]}}
    chosen = Dataset.load(
        alone, {"a": table}, agree=lambda keys: CommonRows(np.array([5, 2, 9])), precision="float64"
    )
    order = sorted(range(rows), key=lambda i: str(keys[i]))
    for i in range(count):
        assert chosen.inputs[f"a.x{i}"][:, 0].tolist() == [
            table[f"x{i}"][order[at]].as_py() for at in (5, 2, 9)
        ]


def test_one_long_row_makes_no_batch_as_wide_as_itself():
    encoders = [{"name": "split", "separator": " "}, {"name": "hash", "buckets": 9}]
    for more, fits in (([], False), ([{"name": "sequence", "max": 5}], True)):
        columns = [feature("Tags", "string", encoders + more, "ids", rows=9)]
        spec = {"parties": {"p": {"key": "ID", "columns": columns}}}
        table = {"p": pa.table({"ID": ["a", "b"], "Tags": ["x", "y " * 20_000]})}
        if fits:
            assert Dataset.load(spec, table).inputs["p.Tags"].shape == (2, 5)
        else:
            failure = refused("VFL0635", spec, table)
            assert "20,000" in failure.message and "'b'" in failure.message and failure.where == WHERE
        short = {"p": pa.table({"ID": ["a", "b"], "Tags": ["x", "y " * 4096]})}
        assert Dataset.load(spec, short).inputs["p.Tags"].shape == (2, 5 if fits else 4096)


def test_generated_text_that_is_looked_up_in_small_letters_is_listed():
    """`feature town = lower(City) -> vocab("rome", "oslo")`: other towns would be refused."""
    town = {"name": "town", "kind": "feature", "shape": "id", "rows": 2, "where": WHERE}
    town |= {"value": {"call": "lower", "args": [{"call": "strip", "args": [{"column": "City"}]}]}}
    town |= {"encoders": [{"name": "vocab", "values": ["rome", "oslo"], "default": None}]}
    city = {"name": "City", "kind": "column", "type": "string", "where": WHERE}
    spec = {"parties": {"alice": {"key": "ID", "where": WHERE, "columns": [city, town]}}}
    data = Dataset.load(spec, generate(spec, 50, 1))
    assert set(data.inputs["alice.town"].ravel().tolist()) == {0, 1}


@pytest.mark.parametrize("seed", range(5))
def test_generated_whole_numbers_spread_until_labels_have_no_gaps(seed):
    """`label share = Paid / Owed`: of zeros and ones, every other row would have no label."""
    number = {"kind": "column", "type": "int", "where": WHERE}
    owed, paid = ({**number, "name": name} for name in ("Owed", "Paid"))
    share = {**liked({"op": "/", "args": [{"column": "Paid"}, {"column": "Owed"}]}), "name": "share"}
    columns = [owed, paid, share, feature("Visits", "int", [], "number")]
    spec = {"parties": {"alice": {"key": "ID", "where": WHERE, "columns": columns}}}
    made = generate(spec, 100, seed)
    assert 0 not in made["alice"]["Owed"].to_pylist()
    inputs = Dataset.load(spec, made).inputs
    assert min(len(np.unique(inputs[f"alice.{name}"])) for name in ("share", "Visits")) > 10


@pytest.mark.parametrize("seed", range(3))
def test_generated_weights_count_rows_differently_and_none_against(seed):
    spec = encoders()
    spec["parties"]["bob"]["columns"].append(feature("W", "float", [], "number", kind="weight"))
    weights = generate(spec, 200, seed)["bob"]["W"].to_numpy()
    assert weights.min() >= 0 and weights.max() > 1.5 and len(np.unique(weights)) > 100
    assert Dataset.load(spec, generate(spec, 200, seed)).rows == 200


@pytest.mark.parametrize("value", [1e39, -3.5e38])
def test_a_number_that_the_model_cannot_hold_is_refused_by_its_key(value):
    column = feature("Big", "float", [], "number")
    spec = {"parties": {"p": {"key": "ID", "columns": [column]}}}
    given = {"p": pa.table({"ID": [1, 2, 3], "Big": [1.0, value, 3e38]})}
    message = refused("VFL0506", spec, given).message
    assert f"p.Big is {value:g} in the row with key '2', which float32 cannot hold" in message
    assert Dataset.load(spec, given, precision="float64").inputs["p.Big"][1] == value


ENDS = {
    "standardize": [{"name": "standardize", "mean": None, "std": None}],
    "minmax": [{"name": "scale", "factor": 0.5}, {"name": "minmax", "low": None, "high": None}],
}


@pytest.mark.parametrize("kind", ["feature", "label"])
@pytest.mark.parametrize("value", [1e300, -1e307, 1e141])
@pytest.mark.parametrize("name", ENDS)
def test_an_encoder_is_fitted_to_no_number_whose_square_is_infinite(name, value, kind):
    column = feature("Big", "float", ENDS[name], "number", kind=kind)
    spec = {"parties": {"p": {"key": "ID", "columns": [column]}}}
    given = {"p": pa.table({"ID": [1, 2, 3, 4], "Big": [1.0, 2.0, value, 3.0]})}
    keep = lambda rows, _: np.array([0])  # noqa: E731
    for precision in ("float32", "float64"):
        failure = refused("VFL0506", spec, given, keep=keep, precision=precision)
        assert failure.message.startswith("p.Big is ") and "in the row with key '3'" in failure.message
        assert f"too large to fit {name} to" in failure.message and "log1p" in failure.help
    # what is not trained on fits nothing, and is told of by its own row
    rest = Dataset.load(spec, given, keep=lambda rows, _: np.array([2]), precision="float64")
    assert all(np.isfinite(list(each.values())).all() for each in rest.state["p.Big"] if each)


@pytest.mark.parametrize("name", ENDS)
def test_what_undoes_a_label_fits_the_precision_of_the_model(name):
    """It becomes a weight. A feature's parameters are only computed with, in float64."""
    given = {"p": pa.table({"ID": [1, 2, 3], "Big": [1e100, 2e100, 4e100]})}
    for kind in ("label", "feature"):
        column = feature("Big", "float", ENDS[name], "number", kind=kind)
        spec = {"parties": {"p": {"key": "ID", "columns": [column]}}}
        if kind == "label":
            failure = refused("VFL0506", spec, given)
            assert failure.message.endswith("which float32 cannot hold") and "float64" in failure.help
        precision = "float32" if kind == "feature" else "float64"
        numbers = Dataset.load(spec, given, precision=precision).inputs["p.Big"]
        assert numbers.dtype == precision and np.isfinite(numbers).all() and np.ptp(numbers) >= 1
