"""`missing(median)` and `vocab(fit)`: what is fitted to the training rows and kept with the run."""

import json
import statistics
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from data.test_data_reading import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_common.encoders import ENCODERS
from vflc_runtime.data import encoded as module
from vflc_runtime.data.dataset import Dataset

from vflc.cli.main import run
from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source

VOCAB = {"name": "vocab", "values": None, "max": 3, "min_count": None, "default": "other"}
TYPES = {"string": pa.string(), "int": pa.int64(), "float": pa.float64()}


def described(type, *encoders, shape="id", rows=4):
    column = {"name": "x", "kind": "feature", "type": type, "encoders": list(encoders)}
    return {"parties": {"p": {"key": "k", "columns": [{**column, "shape": shape, "rows": rows}]}}}


def read(values, type, *encoders, shape="id", rows=4, **more):
    keys = [f"{i:03}" for i in range(len(values))]
    table = pa.table({"k": keys, "x": pa.array(values, TYPES[type])})
    return Dataset.load(described(type, *encoders, shape=shape, rows=rows), {"p": table}, **more)


def by(way):
    return {"name": "missing", "value": None, "by": way}


@settings(max_examples=8, deadline=None)
@given(
    st.one_of(st.lists(st.sampled_from("abcdeé")), st.lists(st.integers(-3, 3))).filter(bool),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_a_vocabulary_is_of_the_most_frequent_values_whatever_the_order(values, most, random):
    type = "string" if isinstance(values[0], str) else "int"
    encoder = VOCAB | {"max": most}
    found = read(values, type, encoder, rows=most + 1)
    listed = sorted(Counter(values).items(), key=lambda each: (-each[1], each[0]))[:most]
    wanted = [value for value, _ in listed]
    assert found.state == {"p.x": [{"values": wanted}]}
    ids = [wanted.index(v) + 1 if v in wanted else 0 for v in values]
    assert found.inputs["p.x"].tolist() == ids
    mixed = random.sample(values, len(values))
    assert read(mixed, type, encoder, rows=most + 1).state == found.state
    state = json.loads(json.dumps(found.state))
    new = [*values, None, "unseen" if type == "string" else 99]
    again = read(new, type, encoder, rows=most + 1, state=state)
    assert again.inputs["p.x"].tolist() == [*ids, 0, 0] and again.state == state


def test_what_is_rare_is_unknown_and_only_training_rows_count(monkeypatch):
    values = ["a"] * 3 + ["b"] * 2 + ["c"] + ["d"] * 9
    encoder = VOCAB | {"min_count": 2}
    wanted = read(values, "string", encoder, keep=lambda rows, _: np.arange(6, rows))
    assert wanted.state == {"p.x": [{"values": ["a", "b"]}]}
    assert wanted.inputs["p.x"].tolist() == [1] * 3 + [2] * 2 + [0] * 10
    assert wanted.report["encoders"]["p.x"]["unknown"] == 10
    monkeypatch.setattr(module, "BLOCK", 4)
    assert read(values, "string", encoder, keep=lambda rows, _: np.arange(6, rows)).state == wanted.state
    said = refused("VFL0720", read, values[:6], "string", VOCAB | {"min_count": 4})
    assert "no value of p.x occurs 4 times" in said.message
    assert "no values in the training rows" in refused("VFL0610", read, [None], "string", VOCAB).message


def test_pieces_are_counted_each_by_itself():
    split = {"name": "split", "separator": " "}
    found = read(["b a", "b", None, "c c b"], "string", split, VOCAB | {"max": 2}, shape="ids", rows=3)
    assert found.state["p.x"][1] == {"values": ["b", "c"]}
    assert found.inputs["p.x"].tolist() == [[1, 0, -1], [1, -1, -1], [-1, -1, -1], [2, 2, 1]]


NUMBERS = st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=1, max_size=30)


@settings(max_examples=8, deadline=None)
@given(NUMBERS.filter(lambda values: any(v is not None for v in values)), st.sampled_from(["int", "float"]))
def test_missing_numbers_become_the_median_the_mean_or_the_mode(values, type):
    known = [v for v in values if v is not None]
    ways = {
        "median": statistics.median(known),
        "mean": statistics.fmean(known),
        "mode": min(known, key=lambda v: (-known.count(v), v)),
    }
    for way, wanted in ways.items():
        found = read(values, type, by(way), shape="number", rows=None, precision="float64")
        fitted = found.state["p.x"][0]["value"]
        assert fitted == pytest.approx(round(wanted) if type == "int" else wanted, abs=1e-12)
        filled = [[fitted] if v is None else [v] for v in values]
        assert found.inputs["p.x"].tolist() == filled


def test_text_has_a_mode_and_a_chain_fits_link_after_link():
    encoder = {"name": "vocab", "values": ["n", "s"], "max": None, "min_count": None, "default": None}
    found = read(["s", None, "n", "s", "n"], "string", by("mode"), encoder, rows=2)
    assert found.state["p.x"][0] == {"value": "n"} and found.inputs["p.x"].tolist() == [1, 0, 0, 1, 0]
    scaled = {"name": "standardize", "mean": None, "std": None}
    found = read([1.0, None, 5.0], "float", by("mean"), scaled, shape="number", rows=None)
    assert found.state["p.x"] == [{"value": 3.0}, {"mean": 3.0, "std": pytest.approx(np.std([1, 3, 5]))}]
    said = refused("VFL0506", read, [1e300, None], "float", by("mean"), shape="number", rows=None)
    assert "too large to fit missing to" in said.message


@pytest.mark.parametrize(
    ("column", "code", "says"),
    [
        ("string -> vocab(fit)", "VFL0205", "vocab(fit, max = 1000)"),
        ("string -> vocab(max = 3)", "VFL0205", "vocab(fit, max = …)"),
        ('string -> vocab(fit, "a", max = 3)', "VFL0205", "lists its values, or is fitted"),
        ('string -> vocab(fit, max = 3, default = "a")', "VFL0205", "its default `other`"),
        ('string -> vocab("a", "b", min_count = 3)', "VFL0205", "for a fitted vocabulary"),
        ("string -> vocab()", "VFL0205", "`vocab` needs values"),
        ("string -> vocab(fit, max = 0)", "VFL0205", "a whole number from 1"),
        ("string -> missing(median) -> hash(9)", "VFL0205", "text has no median"),
        ("int -> missing", "VFL0205", "one of median, mean and mode"),
        ("int -> missing(0, by = 3)", "VFL0205", "one of median, mean, mode"),
        ("int -> missing(middle)", "VFL0101", "middle"),
    ],
)
def test_mistakes_are_said(column, code, says):
    spec = f"party alice {{ key k  feature a: {column} }}\nparty bob {{ key k  label y: int }}"
    with pytest.raises(Refused) as caught:
        compile_source(SourceText("x.vfl", spec))
    assert any(d.code == code and says in f"{d.message} {d.help}" for d in caught.value.diagnostics)


def test_a_name_that_is_bound_is_what_it_is_bound_to():
    wrong = ENCODERS["missing"].mistake({"name": "missing", "value": 3, "by": None}, "int")
    assert wrong is None
    spec = "median = 3\nparty alice { key k  feature a: int -> missing(median) }\n"
    compile_source(SourceText("x.vfl", spec + MODEL.replace("GRANT", "alice.a").replace("OF", "alice.a")))


MODEL = """
party bob { key k  label y: int }
h = mlp(OF, [3])
logit = dense(h, 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
release alice { to bob: a }
release bob { to alice: y }
"""


@pytest.mark.parametrize("column", ["string -> vocab(fit, max = 4)", "int -> missing(mode) -> index(4)"])
def test_a_fitted_code_bounds_nothing(column):
    ids = MODEL.replace("OF", "flatten(embed([alice.a], dim = 2))").replace("bob: a", "bob: a at most 9 bits")
    spec = f"party alice {{ key k  feature a: {column} }}\n"
    with pytest.raises(Refused) as caught:
        compile_source(SourceText("x.vfl", spec + ids))
    assert [found.code for found in caught.value.diagnostics] == ["VFL0340"]


SPEC = """
party alice {
  key k
  feature shop: string -> vocab(fit, max = 50, min_count = 2)
  feature tags: string -> split(" ") -> vocab(fit, max = 5)
  feature rooms: int -> missing(median) -> standardize
  feature size: float -> missing(mean)
}
party bob { key k  label y: int }
h = dense(concat(flatten(embed([alice.shop, alice.tags], dim = 2)), alice.rooms, alice.size), 3)
logit = dense(relu(h), 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
release alice { to bob: shop, tags, rooms, size }
release bob { to alice: y }
train { batch 8 }
"""


def test_what_was_fitted_goes_with_the_run_and_its_exports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.vfl").write_text(SPEC)
    shops = ["a", "b", "only", "a", "b", "a", "", "é"] * 4
    rows = [
        f"{i},{shop if i != 2 else 'once'},{'x y' if i % 3 else 'z'},{i % 5 or ''},{i / 2 if i % 4 else ''}"
        for i, shop in enumerate(shops)
    ]
    (tmp_path / "a.csv").write_text("\n".join(["k,shop,tags,rooms,size", *rows]))
    (tmp_path / "b.csv").write_text("\n".join(["k,y", *(f"{i},{i % 2}" for i in range(32))]))
    (tmp_path / "new.csv").write_text("k,shop,tags,rooms,size\n1,never seen,x new,,\n2,a,z,3,1\n")
    data = ["--data", "alice=a.csv", "--data", "bob=b.csv"]
    for command in (
        ["train", "m.vfl", *data, "--out", "run", "--epochs", "2"],
        ["train", "m.vfl", *data, "--out", "again", "--epochs", "1"],
        ["train", "--resume", *data, "--out", "again", "--epochs", "2"],
        ["predict", "run", "--data", "alice=new.csv", "--data", "bob=b.csv", "-o", "p.csv"],
        ["export", "run", "-o", "models", *data],
        ["verify", "m.vfl", "--steps", "3", "--engines", "onnx"],
    ):
        assert run(command) == 0, command
    states = [(tmp_path / name / "alice/encoders.json").read_bytes() for name in ("run", "again")]
    weights = [(tmp_path / name / "alice/model.safetensors").read_bytes() for name in ("run", "again")]
    assert states[0] == states[1] and weights[0] == weights[1], "as without the interruption"
    fitted = json.loads(states[0])
    assert fitted["alice.shop"][0]["values"][:2] == ["a", "b"]
    assert "once" not in fitted["alice.shop"][0]["values"]
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 3
    for place in ("manifest.json", "manifest.md", "bob/plan.json"):
        assert "only" not in (tmp_path / "run/bundle" / place).read_text().split('"'), "the vocabulary stays"
