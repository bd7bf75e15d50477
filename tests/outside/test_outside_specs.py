"""`block NAME = onnx(…)` in a spec: what is said of mistakes, and what the analysis takes it for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from making import ENCODER, PARTIES, REST, SPEC, encoder, model, value, written
from onnx import helper
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.errors import Failure

from vflc.diagnostics import Diagnostic, Refused, SourceText
from vflc.diagnostics.render_text import render
from vflc.driver import check_source, compile_source, examine
from vflc.ir.stages import Partitioned
from vflc.passes.learn.flow import FlowAnalysis


def findings(folder: Path, spec: str) -> list[Diagnostic]:
    """But for the note that the file runs as it is."""
    found = check_source(SourceText(str(folder / "model.vfl"), spec), folder)
    return [each for each in found if each.code != "VFL0765"]


def only(folder: Path, spec: str) -> Diagnostic:
    (found,) = findings(folder, spec)
    return found


def using(line: str, block: str = ENCODER) -> str:
    return f"{PARTIES}\n{block}{line}\n{REST}"


def test_a_spec_with_a_file_is_whole(tmp_path: Path) -> None:
    written(tmp_path)
    assert findings(tmp_path, SPEC) == []


def test_why_a_file_runs_as_it_is_is_said_once(tmp_path: Path) -> None:
    written(tmp_path)
    twice = SPEC.replace("e = Encoder(", "more = Encoder(concat(alice.numbers))\ne = more + Encoder(")
    found = check_source(SourceText(str(tmp_path / "model.vfl"), twice), tmp_path)
    assert [(each.code, each.level) for each in found] == [("VFL0765", "note")]
    assert found[0].message == (
        "encoder.onnx runs as it is, and is not trained: `mean` (ReduceMean) works along the batch"
    )
    trained = SPEC.replace('.onnx"', '.onnx", trainable = true')
    (found_then,) = check_source(SourceText(str(tmp_path / "model.vfl"), trained), tmp_path)
    assert (found_then.code, "`mean` (ReduceMean)" in found_then.message) == ("VFL0508", True)


def test_a_file_of_a_used_file_lies_beside_it(tmp_path: Path) -> None:
    written(tmp_path, name="towers/encoder.onnx")
    (tmp_path / "towers" / "t.vfl").write_text(ENCODER)
    assert findings(tmp_path, SPEC.replace(ENCODER, 'use "towers/t.vfl".{Encoder}\n')) == []
    assert findings(tmp_path, SPEC.replace(ENCODER, 'use "towers/t.vfl"\n')) == []


def test_a_block_may_use_it_and_is_named_by_its_path(tmp_path: Path) -> None:
    written(tmp_path)
    block = ENCODER + "block Two(x) {\n  both = [Encoder(x), Encoder(x * 2)]\n  return concat(both)\n}\n"
    examined = examine(SourceText("m.vfl", using("e = Two(concat(alice.numbers))", block)), tmp_path)
    assert [each.code for each in examined.diagnostics] == ["VFL0765"]
    assert examined.model is not None
    assert [node.id for node in examined.model.graph if node.op == "onnx"] == [
        "e.both.Encoder.onnx", "e.both.Encoder_2.onnx",
    ]  # fmt: skip


# --- mistakes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "code", "says"),
    [
        ('onnx("missing.onnx")', "VFL0108", "there is no file missing.onnx"),
        ('onnx("../encoder.onnx")', "VFL0108", "outside the folder of the spec"),
        ('onnx("/etc/passwd")', "VFL0108", "outside the folder of the spec"),
        ('onnx("model.vfl")', "VFL0108", "is not an .onnx file"),
        ('onnx("text.onnx")', "VFL0716", "cannot be used"),
        ('torch("encoder.onnx")', "VFL0106", "`torch`"),
        ("onnx()", "VFL0107", "the name of one file"),
        ('onnx("encoder.onnx", "encoder.onnx")', "VFL0107", "the name of one file"),
        ("onnx(3)", "VFL0107", "the name of one file"),
        ('onnx("encoder.onnx", trainble = true)', "VFL0107", "no argument `trainble`"),
        ('onnx("encoder.onnx", trainable = 1)', "VFL0203", "true or false"),
        ('onnx("encoder.onnx", sha256 = "abc")', "VFL0203", "64 hexadecimal digits"),
        (f'onnx("encoder.onnx", sha256 = "{"0" * 64}")', "VFL0719", "not the file that is meant"),
        ('onnx("encoder.onnx", inputs = [[2]])', "VFL0107", "needs `sha256`"),
        ('onnx("encoder.onnx", inputs = [2])', "VFL0203", "list of lists"),
        ('onnx("encoder.onnx", inputs = [[0]])', "VFL0203", "list of lists"),
        ('onnx("encoder.onnx", inputs = [[x]])', "VFL0203", "list of lists"),
        ('onnx("encoder.onnx", inputs = [[1.5]])', "VFL0203", "list of lists"),
        ('onnx("encoder.onnx", trainable = true)', "VFL0508", "cannot be trained"),
    ],
)
def test_mistakes_in_the_declaration(tmp_path: Path, declared: str, code: str, says: str) -> None:
    folder = tmp_path / "spec"
    written(folder)
    written(tmp_path)
    (folder / "text.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "model.vfl").write_text("")
    found = only(folder, SPEC.replace('onnx("encoder.onnx")', declared))
    assert found.code == code and says in found.message, render([found])
    assert found.span is not None


def test_a_link_counts_as_the_file_it_leads_to(tmp_path: Path) -> None:
    folder = tmp_path / "spec"
    folder.mkdir()
    (folder / "encoder.onnx").symlink_to(written(tmp_path))
    assert only(folder, SPEC).code == "VFL0108"


def test_a_spec_given_as_text_has_no_files() -> None:
    (found,) = check_source(SourceText("x", SPEC))
    assert found.code == "VFL0108"


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("e = Encoder(alice.Age)", "VFL0201", "must be [2]; this is [1]"),
        ("e = Encoder(concat(alice.numbers), alice.Age)", "VFL0107", "takes its input"),
        ("e = Encoder(x = concat(alice.numbers))", "VFL0107", "takes its input"),
        ("e = Encoder()", "VFL0107", "takes its input"),
        ("e = Encoder(alice.City)", "VFL0203", "is categorical"),
        ("e = Encoder(alice.numbers)", "VFL0203", "concat(alice.numbers)"),
        ("e = Encoder(2)", "VFL0201", "must be [2]"),
        ("e = Encoder(weight(2))", "VFL0508", "what is trained before it"),
        ("e = Encoder(dense(alice.Age, 2))", "VFL0508", "what is trained before it"),
        ("e = Encoder(concat(alice.Age, bob.Price))", "VFL0509", "values of alice and bob"),
        ("e = dense(concat(Encoder, alice.Age), 3)", "VFL0203", "the block Encoder"),
    ],
)
def test_mistakes_in_its_use(tmp_path: Path, line: str, code: str, says: str) -> None:
    written(tmp_path)
    found = findings(tmp_path, using(line))
    assert [each.code for each in found] == [code]
    assert says in f"{found[0].message} {found[0].help}"


def test_a_value_of_another_shape_is_told_how_to_get_there(tmp_path: Path) -> None:
    node = helper.make_node("Flatten", ["x"], ["y"])  # which is expanded
    written(tmp_path, model([node], [value("x", "n", 1, 2)], [value("y", "n", 2)]))
    found = only(tmp_path, using("e = Encoder(concat(alice.numbers))"))
    assert found.help == "give it the shape first: reshape(x, 1, 2)"
    assert findings(tmp_path, using("e = Encoder(reshape(concat(alice.numbers), 1, 2))")) == []


def test_where_it_runs_may_be_said(tmp_path: Path) -> None:
    """Values that a weight has touched, whose gradient is stopped on purpose, may meet elsewhere."""
    written(tmp_path, encoder(width=4))
    line = "h = stop_gradient(dense(alice.Age, 2))\ne = Encoder(concat(h, bob.Price, bob.Price)) at bob"
    spec = using(line).replace("concat(e, embed(alice.City, dim = 4))", "embed(alice.City, dim = 4)")
    spec = spec.replace("tanh(a + b)", "concat(tanh(a + b), e)")
    spec = spec.replace("liked, Item }", "liked, Item, Price }")
    assert findings(tmp_path, spec) == []
    raw = spec.replace("stop_gradient(dense(alice.Age, 2))", "concat(alice.numbers)")
    assert {each.code for each in findings(tmp_path, raw)} <= {"VFL0301", "VFL0302"}


def test_a_population_has_none(tmp_path: Path) -> None:
    spec = """
    population users {
      key UserID
      feature MovieID: int -> index(30)
      column  Rating:  float
      label   rating = Rating
    }
    party hub {}
    block Encoder = onnx("encoder.onnx")
    global items = table(30, 2) at hub
    score = sum(Encoder(stop_gradient(lookup(items, users.MovieID)))) + sum(lookup(items, users.MovieID))
    predict rating = score
    objective mse(score, users.rating)
    train reconstruct { rounds 2 cohort 2 rebuild sgd(0.1) client sgd(0.5) server sgd(1.0) }
    """
    written(tmp_path)
    codes = {each.code for each in findings(tmp_path, spec)}
    assert codes == {"VFL0502"}


# --- what the analysis takes it for -----------------------------------------------------------------------


def test_what_it_gives_is_raw_until_a_weight_has_touched_it(tmp_path: Path) -> None:
    """Its own numbers are no trained weight: it may be the identity."""
    written(tmp_path)
    spec = SPEC.replace("dense(tanh(a + b), 1)", "dense(concat(tanh(a + b), e), 1)")
    found = findings(tmp_path, spec)
    assert [each.code for each in found] == ["VFL0301"]


def test_rows_of_others_are_in_every_row(tmp_path: Path) -> None:
    """So that noise which is bounded for one row bounds nothing of what a file gives for it."""
    written(tmp_path)
    mixed = {}
    for line in ("e = Encoder(concat(alice.numbers))", "e = tanh(concat(alice.numbers))"):
        spec = using(line).replace(" -> standardize", "")  # what is fitted is of all rows, too
        model = examine(SourceText("m.vfl", spec), tmp_path).model
        assert isinstance(model, Partitioned)
        flow = FlowAnalysis(model)
        mixed[line] = [flow.train["e"].row, flow.train["e"].mixed]
    assert [both[0] == both[1] for both in mixed.values()] == [True, False]


def test_noise_on_gradients_is_refused_where_rows_may_mix(tmp_path: Path) -> None:
    written(tmp_path)
    spec = SPEC + "protect weights at alice with dp_sgd(clip = 1.0, noise = 1.0)\n"
    found = findings(tmp_path, spec)
    assert [each.code for each in found if each.level == "error"] == ["VFL0346"]
    without = spec.replace("e = Encoder(concat(alice.numbers))", "e = concat(alice.numbers)")
    assert "VFL0346" not in {each.code for each in findings(tmp_path, without)}


# --- the party that has the file, and the others ----------------------------------------------------------


def declared(path: Path) -> str:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return (
        f'block Encoder = onnx(\n  "encoder.onnx", sha256 = "{sha256}", inputs = [[2]], outputs = [[3]]\n)\n'
    )


def test_who_lacks_the_file_compiles_the_same_digest(tmp_path: Path) -> None:
    path = written(tmp_path)
    spec = SPEC.replace(ENCODER, declared(path))
    source = SourceText("model.vfl", spec)
    here = compile_source(source, tmp_path)
    path.unlink()
    there = compile_source(source, tmp_path)
    assert here.manifest == there.manifest
    sha256 = here.manifest["models"][0]["sha256"]
    assert set(here.files) - set(there.files) == {f"alice/encoder-{sha256[:12]}.onnx"}
    assert there.manifest["models"] == [
        {
            "place": "alice", "path": "encoder.onnx", "sha256": sha256,
            "inputs": [[2]], "outputs": [[3]], "reads": ["alice.Age", "alice.Income"],
        }
    ]  # fmt: skip
    assert sha256 in here.files["manifest.md"].decode()


def test_who_lacks_the_file_runs_its_own_part(tmp_path: Path) -> None:
    path = written(tmp_path)
    source = SourceText("model.vfl", SPEC.replace(ENCODER, declared(path)))
    path.unlink()
    compile_source(source, tmp_path).write(tmp_path / "build")
    assert set(open_bundle(tmp_path / "build", ("bob",)).plans) == {"bob"}
    with pytest.raises(Failure, match=r"encoder-[0-9a-f]{12}\.onnx is missing"):
        open_bundle(tmp_path / "build", ("alice",))


def test_sizes_that_are_declared_must_be_those_of_the_file(tmp_path: Path) -> None:
    spec = SPEC.replace(ENCODER, declared(written(tmp_path)))
    assert findings(tmp_path, spec) == []
    assert only(tmp_path, spec.replace("outputs = [[3]]", "outputs = [[4]]")).code == "VFL0717"


def test_another_file_gives_another_digest(tmp_path: Path) -> None:
    written(tmp_path)
    one = compile_source(SourceText("model.vfl", SPEC), tmp_path).manifest
    again = compile_source(SourceText("model.vfl", SPEC), tmp_path).manifest
    written(tmp_path, encoder(seed=1))
    other = compile_source(SourceText("model.vfl", SPEC), tmp_path).manifest
    assert one == again and one["digest"] != other["digest"]


def test_a_file_that_gives_other_shapes_than_it_says(tmp_path: Path) -> None:
    node = helper.make_node("Concat", ["x", "x", "x"], ["y"], axis=0)
    written(tmp_path, model([node], [value("x", "n", 2)], [value("y", "m", 2)]))
    with pytest.raises(Refused) as found:
        compile_source(SourceText("model.vfl", SPEC), tmp_path)
    (diagnostic,) = found.value.diagnostics
    assert diagnostic.code == "VFL0507" and "[6, 2] for 2 rows" in diagnostic.message
    assert diagnostic.span is not None and diagnostic.span.text == '"encoder.onnx"'


def test_a_file_that_onnxruntime_does_not_run(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    written(tmp_path, model([node], [value("x", "n", 2)], [value("y", "n", 2)], {"w": [[1.0], [2], [3]]}))
    with pytest.raises(Refused) as found:
        compile_source(SourceText("model.vfl", SPEC), tmp_path)
    assert [each.code for each in found.value.diagnostics] == ["VFL0507"]
