"""ONNX files of vflc: the parties come back, and what a file says of itself is not believed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from importing.test_importing_onnx_round_trip import check, exported
from onnx import numpy_helper

from vflc.diagnostics import Refused
from vflc.importing.run import import_model

SMALL = """
party a {
  key ID
  column  n: int
  feature s: string -> strip -> vocab("x", "y", default = "y")
  feature m: string -> missing("q") -> split("|") -> hash(7, salt = [1, 2])
  feature half = n // 2 -> vocab(0..9, default = other)
  feature z: float  -> missing(1.5) -> log1p -> standardize
  feature w: int    -> index(5, default = other)
  feature r: string -> lower -> words -> pad(3) -> vocab("", "x", "y", default = "")
  feature l: string -> split("|") -> hash(5) -> sequence(max = 2)
}
party b {
  key ID
  feature v: float -> clip(-1, 2) -> minmax
  feature q: float -> bucketize(0, 0.5, 1.5)
  column  t: string
  label   y = not (t == "a" or t == "b")
}
e     = embed([a.s, a.m, a.half, a.w, b.q], dim = 2)
t     = table(5, 3)
r     = lookup(t, a.r)
l     = lookup(t, a.l)
words = concat(mean(r, axis = value), flatten(r), flatten(l), sum(l, axis = value), embed(a.r, dim = 2))
logit = dense(mlp(concat(words, flatten(e), one_hot(a.m), one_hot(a.w), a.z, b.v), [3]), 1)
        + embed(a.m, dim = 1, combiner = mean)
predict y = sigmoid(logit)
objective bce(logit, b.y)
train { optimizer rmsprop(lr = 0.01)  batch 16  metrics auc }
release a { to b: s, m, half, z, w, r, l }
release b { to a: v, q, y }
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    check(SMALL, folder, "float64")
    return folder / "out" / "model.onnx"


def test_the_parties_come_back_as_they_were(file: Path) -> None:
    text = import_model(file, {}, {}).text
    for line in (
        'feature s: string -> strip -> vocab("x", "y", default = "y")',
        'feature m: string -> missing("q") -> split("|") -> hash(7, salt = [1, 2])',
        "feature half = n // 2 -> vocab(0..9, default = other)",
        "feature w: int -> index(5, default = other)",
        "feature q: float -> bucketize(0, 0.5, 1.5)",
        'label y = not (t == "a" or t == "b")',
        "optimizer rmsprop(lr = 0.01)",
        "combiner = mean",
        'feature r: string -> lower -> words -> pad(3) -> vocab("", "x", "y", default = "")',
        "sequence(2)",
        "one_hot(a.m, depth = 7)",
    ):
        assert line in re.sub(r"  +", " ", text)


VECTORS = """
party a {
  key ID
  feature x: float -> standardize
  feature v: vector(3)
  feature u: vector(2) -> standardize(mean = 0, std = 2)
}
party b {
  key ID
  feature z: float
  label   l: int
}
h = layer_norm(batch_norm(dense(concat(a.x, a.v, embed(a.u, dim = 2)), 4)))
logit = dense(concat(dropout(relu(h), 0.2), b.z), 1) at b
predict l = sigmoid(logit)
objective bce(logit, b.l)
release a { to b: x, v, u }
release b { to a: z, l }
"""


def test_vectors_and_normalization(tmp_path: Path) -> None:
    """Statistics of batches are weights that do not move; what was fitted to each number is not said."""
    text = check(VECTORS, tmp_path).text
    assert "vector(3)" in text and "stop_gradient(h_batch_norm_moving_variance)" in text
    assert "stop_gradient(h_batch_norm_gamma)" not in text
    path = exported(VECTORS.replace("(mean = 0, std = 2)", ""), tmp_path / "fitted")
    with pytest.raises(Refused, match=r"VFL0701: `standardize` of the vector `a\.u` was fitted"):
        import_model(path, {}, {})


def test_what_reads_any_number_of_ids_one_by_one_is_named(tmp_path: Path) -> None:
    lookup = "square(lookup(table(7, 2), a.m))"
    text = SMALL.replace("one_hot(a.m)", f"sum({lookup}, axis = value)")
    with pytest.raises(Refused, match=r"VFL0701: .* the rows of a table that a row's ids name, one by one"):
        import_model(exported(text, tmp_path), {}, {})


Change = Callable[[onnx.ModelProto, dict[str, Any]], Any]


def changed(file: Path, folder: Path, change: Change) -> Path:
    """The file with another graph or description; a change gives the text of the latter, or changes both."""
    made = onnx.load(file)
    entry = next(each for each in made.metadata_props if each.key == "vflc.tables")
    tables = json.loads(entry.value)
    said = change(made, tables)
    entry.value = said if isinstance(said, str) else json.dumps(tables)
    path = folder / "changed.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def column(tables: dict[str, Any], party: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in tables["parties"][party]["columns"] if c["name"] == name)
    return found


def node(made: onnx.ModelProto, reads: str, op: str) -> onnx.NodeProto:
    return next(n for n in made.graph.node if n.op_type == op and any(i.startswith(reads) for i in n.input))


def another_constant(made: onnx.ModelProto, tables: Any) -> None:
    held = next(t for t in made.graph.initializer if t.name == node(made, "b.v/", "Div").input[1])
    held.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(held) + 1, held.name))


def reads_raw(made: onnx.ModelProto, tables: Any) -> None:
    """A part of the model takes the column before its last encoder."""
    first = node(made, "b.q/encoded", "Gather")
    first.input[1] = next(
        n.output[0] for n in made.graph.node if n.output[0].startswith("b.q/") and n.op_type == "Cast"
    )


def reads_constant(made: onnx.ModelProto, tables: Any) -> None:
    """A part of the model takes a number of an encoder's."""
    node(made, "a.z/encoded", "Concat").input[0] = node(made, "b.v/", "Div").input[1]


OTHERWISE: dict[str, Change] = {
    "another vocabulary": lambda m, t: column(t, "a", "s")["encoders"][1].update(values=["x", "q"]),
    "another mean": lambda m, t: column(t, "a", "z")["encoders"][2].update(mean=5.0),
    "one less": lambda m, t: column(t, "a", "z")["encoders"].pop(1),
    "another edge": lambda m, t: column(t, "b", "q")["encoders"][0].update(edges=[0, 0.5, 2.5]),
    "another constant": another_constant,
    "another operator": lambda m, t: setattr(node(m, "b.v/", "Div"), "op_type", "Mul"),
    "another domain": lambda m, t: setattr(node(m, "b.v/", "Div"), "domain", "ai.onnx.ml"),
    "what is half encoded": reads_raw,
    "a constant of an encoder": reads_constant,
    "another input": lambda m, t: setattr(m.graph.input[0].type.tensor_type, "elem_type", 1),
    "no such column": lambda m, t: column(t, "a", "s").update(name="other"),
    "not JSON": lambda m, t: "{",
    "nothing": lambda m, t: "{}",
    "no parties": lambda m, t: t.update(parties=[]),
    "a list": lambda m, t: "[]",
    "a label that is none": lambda m, t: t.update(labels={"y": "b.t"}),
    "a version to come": lambda m, t: t.update(version=2),
    "lines in a name": lambda m, t: column(t, "b", "t").update(name='t: int }\nparty mallory {'),
    "an encoder that nobody has": lambda m, t: column(t, "a", "s")["encoders"][1].update(name="eval"),
    "nothing fitted": lambda m, t: column(t, "a", "z")["encoders"][2].update(mean=None),
    "deep": lambda m, t: '{"version":1,"labels":{},"parties":' + "[" * 100_000 + "]" * 100_000 + "}",
    "an optimizer that nobody has": lambda m, t: t["compile"]["optimizer"].update(class_name="Mine"),
    "a loss of no output": lambda m, t: t["compile"]["loss"].update(z={}),
}  # fmt: skip


@pytest.mark.parametrize("change", OTHERWISE)
def test_a_description_that_is_not_of_the_graph_is_refused(change: str, file: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        import_model(changed(file, tmp_path, OTHERWISE[change]), {}, {})
    (found,) = refused.value.diagnostics
    assert found.code in ("VFL0712", "VFL0705"), found.message
    assert found.help


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_never_ends_in_a_traceback(file: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    (tmp_path / "bad.onnx").write_bytes(bytes(content))
    try:
        assert import_model(tmp_path / "bad.onnx", {}, {}).text
    except Refused as refused:
        assert all(found.code.startswith("VFL") for found in refused.diagnostics)


def test_owners_are_for_files_that_do_not_say_them(file: Path) -> None:
    with pytest.raises(Refused, match="VFL0713"):
        import_model(file, {"a": ["a.s"]}, {"b": ["y"]})


def test_what_one_party_runs_is_no_model(tmp_path: Path) -> None:
    for path in exported(SMALL, tmp_path, merged=False).glob("*/*.onnx"):
        with pytest.raises(Refused, match="VFL0766"):
            import_model(path, {"a": ["s"]}, {"b": ["y"]})
