"""Models with files of other tools in them at work: trained, compared, opened where somebody changed them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from making import ENCODER, PARTIES, REST, SPEC, bundle, encoder, expected, model, value, written
from onnx import TensorProto, helper
from vflc_common.canonical import canonical, signed
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.bundle.slices import joined
from vflc_runtime.errors import Failure
from vflc_runtime.run.session import Session

ROWS = 24
ENGINES = ["onnx", pytest.param("keras", marks=pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed"))]  # fmt: skip


def inputs(rows: int = ROWS) -> dict[str, Any]:
    draw = np.random.default_rng(3)
    return {
        "alice.Age": draw.normal(size=(rows, 1)),
        "alice.Income": draw.normal(size=(rows, 1)),
        "alice.City": draw.integers(0, 20, rows),
        "bob.Item": draw.integers(0, 50, rows),
        "bob.liked": draw.integers(0, 2, (rows, 1)).astype(float),
    }


def trained(session: Session, steps: int = 5) -> dict[str, Any]:
    """The weights after some steps."""
    for _ in range(steps):
        session.step(inputs())
    engines = session.engines.values()
    found = {name: array.copy() for engine in engines for name, array in engine.weights().items()}
    return joined((engine.plan for engine in engines), found)


def given(session: Session, name: str = "e") -> Any:
    """A value of the last batch."""
    return next(e.get(name).copy() for e in session.engines.values() if name in e.values())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_split_is_unsplit_with_a_frozen_encoder(tmp_path: Path, engine: str, precision: str) -> None:
    made = encoder()
    written(tmp_path, made)
    options = {"precision": precision, "backends": (engine,)}
    split = Session(open_bundle(bundle(tmp_path, **options), engine=engine), engine, threads=1)
    whole = Session(
        open_bundle(bundle(tmp_path, to="whole", unsplit=True, **options), engine=engine), engine, threads=1
    )
    start = {name: array.copy() for e in split.engines.values() for name, array in e.weights().items()}
    one, other = trained(split), trained(whole)
    tolerance = 1e-5 if precision == "float32" else 1e-12
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], tolerance, tolerance)
        assert not np.array_equal(array, start[name]), f"{name} was not trained"
    x = np.concatenate([inputs()["alice.Age"], inputs()["alice.Income"]], 1).astype(np.float32)
    found = given(split)
    assert found.dtype == precision
    np.testing.assert_allclose(found, expected(made, x)[0], 1e-5, 1e-5)


def test_it_runs_in_evaluation_and_prediction(tmp_path: Path) -> None:
    written(tmp_path)
    session = Session(open_bundle(bundle(tmp_path)), threads=1)
    session.step(inputs())
    before = given(session)
    fed = {name: array for name, array in inputs().items() if name != "bob.liked"}
    predicted = session.predict(fed)["liked"]
    np.testing.assert_array_equal(given(session), before)
    assert predicted.shape[0] == ROWS


def test_a_large_batch_and_a_small_one(tmp_path: Path) -> None:
    """Sessions of one thread and of several give the rows of their batch."""
    made = encoder()
    written(tmp_path, made)
    session = Session(open_bundle(bundle(tmp_path)), threads=2)
    for rows in (100, 3, 100, 1):
        session.step(inputs(rows))
        assert given(session).shape == (rows, 3)


def test_several_inputs_and_outputs_of_several_types(tmp_path: Path) -> None:
    """Whole numbers are the nearest ones; an output without an axis for a row has one of size 1."""
    nodes = [
        helper.make_node("Cast", ["ids"], ["f"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["f", "x"], ["wide"]),
        helper.make_node("ReduceSum", ["wide", "last"], ["total"], keepdims=0),
        helper.make_node("ArgMax", ["x"], ["top"], axis=1, keepdims=1),
    ]
    ports = [value("ids", "n", 2, element=TensorProto.INT64), value("x", "n", 2, element=TensorProto.DOUBLE)]
    outputs = [
        value("wide", "n", 2, element=TensorProto.DOUBLE),
        value("total", "n", element=TensorProto.DOUBLE),
        value("top", "n", 1, element=TensorProto.INT64),
    ]
    made = model(nodes, ports, outputs, {"last": np.array([1])})
    written(tmp_path, made)
    line = "x = concat(alice.numbers)\nall = Encoder(3 * x, x)\ne = concat(all[0], all[1], all[2])"
    session = Session(open_bundle(bundle(tmp_path, f"{PARTIES}\n{ENCODER}{line}\n{REST}")), threads=1)
    session.step(inputs())
    x = np.concatenate([inputs()["alice.Age"], inputs()["alice.Income"]], 1).astype(np.float32)
    dues = expected(made, np.rint(3 * x).astype(np.int64), x.astype(float))
    for name, due in zip(("all.onnx", "all.onnx_2", "all.onnx_3"), dues, strict=True):
        found = given(session, name)
        np.testing.assert_allclose(found, due.reshape(ROWS, -1), 1e-6, 1e-6)
        assert found.dtype == np.float32


def test_one_after_another(tmp_path: Path) -> None:
    written(tmp_path, encoder(2, 2))
    line = "first = Encoder(concat(alice.numbers))\ne = Encoder(tanh(first))"
    session = Session(open_bundle(bundle(tmp_path, f"{PARTIES}\n{ENCODER}{line}\n{REST}")), threads=1)
    session.step(inputs())
    (due,) = expected(encoder(2, 2), np.tanh(given(session, "first")))
    np.testing.assert_allclose(given(session), due, 1e-5, 1e-5)


# --- bundles that somebody changed --------------------------------------------------------------------------


def damaged(folder: Path, says: str) -> None:
    with pytest.raises(Failure) as found:
        Session(open_bundle(folder), threads=1)
    assert found.value.code == "VFL0613" and says in found.value.message, found.value.message


def only_file(folder: Path) -> Path:
    (path,) = (folder / "alice").glob("encoder-*.onnx")
    return path


def signed_again(folder: Path) -> None:
    """The manifest as a party with bad intent would sign it, all hashes those of its files."""
    import hashlib

    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    for place, files in data["contents"].items():
        for name in files:
            files[name] = hashlib.sha256((folder / place / name).read_bytes()).hexdigest()
    path.write_text(canonical(signed({k: v for k, v in data.items() if k not in ("digest", "page_sha256")})))


def test_another_file_in_its_place(tmp_path: Path) -> None:
    written(tmp_path)
    folder = bundle(tmp_path)
    only_file(folder).write_bytes(encoder(seed=5).SerializeToString())
    damaged(folder, "was changed after it was compiled")
    only_file(folder).unlink()
    damaged(folder, "is missing")


def test_a_file_that_no_compiler_would_have_taken(tmp_path: Path) -> None:
    """Whoever signs a manifest anew cannot make others run what is not allowed."""
    written(tmp_path)
    folder = bundle(tmp_path)
    for change, says in (
        (lambda made: made.graph.node[1].MergeFrom(onnx.NodeProto(domain="evil")), "domain `evil`"),
        (lambda made: made.graph.initializer[0].external_data.add(key="location", value="x"), "another file"),
        (lambda made: made.graph.ClearField("output"), "no outputs"),
    ):
        made = encoder()
        change(made)
        only_file(folder).write_bytes(made.SerializeToString())
        signed_again(folder)
        damaged(folder, says)
    only_file(folder).write_bytes(encoder(2, 4).SerializeToString())
    signed_again(folder)
    damaged(folder, "other inputs or outputs than plan.json declares")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"file": "../bob/forward.onnx"}, "missing"),
        ({"file": "/etc/passwd"}, "missing"),
        ({"file": None}, "text"),
        ({"inputs": []}, "other inputs or outputs"),
        ({"outputs": ["e", "f"]}, "other inputs or outputs"),
        ({"outside": {"inputs": [[2]], "outputs": [[3]], "output": 1}}, "the number of an output"),
        ({"outside": {"inputs": [[0]], "outputs": [[3]], "output": 0}}, "integer of at least 1"),
        ({"outside": {"inputs": [[3]], "outputs": [[3]], "output": 0}}, "other inputs or outputs than"),
        ({"outside": {}}, "inputs"),
    ],
)
def test_a_plan_that_says_something_else(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    written(tmp_path)
    folder = bundle(tmp_path)
    path = folder / "alice" / "plan.json"
    plan = json.loads(path.read_text())
    plan["graphs"]["model.e"] |= change
    path.write_text(canonical(plan))
    signed_again(folder)
    damaged(folder, says)


def test_a_file_that_gives_another_shape_in_a_run(tmp_path: Path) -> None:
    """It was tried with batches of two and three rows; a run looks again."""
    nodes = [
        helper.make_node("Shape", ["x"], ["n"], end=1),
        helper.make_node("Min", ["n", "few"], ["most"]),
        helper.make_node("Slice", ["x", "zero", "most"], ["y"]),
    ]
    weights = {"few": np.array([3]), "zero": np.array([0])}
    written(tmp_path, model(nodes, [value("x", "n", 2)], [value("y", "m", 2)], weights))
    session = Session(open_bundle(bundle(tmp_path)), threads=1)
    with pytest.raises(Failure) as found:
        session.step(inputs())
    assert found.value.code == "VFL0613" and "[3, 2] for 24 rows" in found.value.message


def test_what_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    node = helper.make_node("Log", ["x"], ["y"])
    written(tmp_path, model([node], [value("x", "n", 2)], [value("y", "n", 2)]))
    session = Session(open_bundle(bundle(tmp_path)), threads=1)
    with pytest.raises(Failure) as found:
        session.step(inputs())
    assert found.value.code == "VFL0611"


def test_a_spec_without_files_has_nothing_of_them(tmp_path: Path) -> None:
    spec = SPEC.replace(ENCODER, "").replace("Encoder(concat(alice.numbers))", "concat(alice.numbers)")
    folder = bundle(tmp_path, spec)
    assert "models" not in json.loads((folder / "manifest.json").read_text())
    assert "Models from elsewhere" not in (folder / "manifest.md").read_text()


def test_what_files_compute_has_half_of_the_memory(tmp_path: Path) -> None:
    """In a process of its own: a process has one arena, made when its first file runs."""
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["one"], keepdims=0),
        helper.make_node("Expand", ["one", "many"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    weights = {"axes": np.array([0, 1]), "many": np.array([10_000_000])}
    made = model(nodes, [value("x", "n", 2)], [value("y", "n", 2)], weights)
    code = (
        "import os, sys, numpy as np\n"
        "sizes = {'SC_PAGE_SIZE': 1, 'SC_PHYS_PAGES': int(sys.argv[2]) * 2}\n"
        "whole = os.sysconf; os.sysconf = lambda name: sizes.get(name) or whole(name)\n"
        "from vflc_runtime.engines.outside import OutsideFile\n"
        "from vflc_runtime.errors import Failure\n"
        "file = OutsideFile(open(sys.argv[1], 'rb').read(), 'e.onnx', 1)\n"
        "try: print(file.run([np.ones((3, 2), 'float32')], 0, 3)[0, 0])\n"
        "except Failure as failure: print(failure)\n"
    )
    found = [
        subprocess.run([sys.executable, "-c", code, str(written(tmp_path, made)), str(half)],
                       capture_output=True, text=True, check=True).stdout
        for half in (1 << 30, 10 << 20)
    ]  # fmt: skip
    assert float(found[0]) == 10_000_001
    assert found[1].startswith("VFL0613") and "e.onnx cannot run" in found[1]
