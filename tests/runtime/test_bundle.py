"""A bundle that does not hold together is refused before anything of it runs."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import handmade
import numpy as np
import onnx
import pytest
from signing import sign
from vflc_common.canonical import digest
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.errors import Failure
from vflc_runtime.run.loading import encoders
from vflc_runtime.run.session import Session


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return handmade.write_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "b"))


def refused(folder: Path) -> str:
    with pytest.raises(Failure) as caught:
        Session(folder)
    assert caught.value.code == "VFL0613"
    assert caught.value.help
    return caught.value.message


def set_step(program: str, index: int, **changes: Any) -> Callable[[Any], object]:
    return lambda plan: plan["programs"][program][index].update(**changes)


def rows_of_no_table(plan: Any) -> None:
    plan["updates"][0] = {**plan["updates"][1], "id": "x", "array": "b.mean"}


def change(file: Path, edit: Callable[[Any], object]) -> None:
    document = json.loads(file.read_text())
    edit(document)
    if "digest" in document:
        document["digest"] = digest(document)
    handmade.write_json(file, document)


def compiled(folder: Path) -> str:
    """Why the bundle is refused although its hashes are right."""
    sign(folder)
    return refused(folder)


def test_a_bundle_that_is_whole_opens(original: Path) -> None:
    bundle = open_bundle(original)
    assert bundle.parties == ("alice", "bob")
    assert list(open_bundle(original, ("bob",)).plans) == ["bob"]


FILES = sorted(
    f"{place}/{name}"
    for place, names in {
        "alice": ("plan.json", "encoders.json", "a.forward.onnx", "a.still.onnx", "a.backward.onnx"),
        "bob": ("plan.json", "encoders.json", "b.train.onnx", "b.predict.onnx", "momentum.onnx"),
    }.items()
    for name in names
)


@pytest.mark.parametrize("name", FILES)
def test_every_bit_of_every_file_counts(bundle: Path, name: str) -> None:
    file = bundle / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    assert refused(bundle) == f"{file} was changed after it was compiled: it has another SHA-256"


def test_a_file_too_many(bundle: Path) -> None:
    (bundle / "bob" / "more.onnx").write_bytes((bundle / "bob" / "b.train.onnx").read_bytes())
    assert refused(bundle) == f"{bundle / 'bob' / 'more.onnx'} is not a file of this bundle"


@pytest.mark.parametrize("name", FILES)
def test_a_file_too_few(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert refused(bundle) == f"{bundle / name} is missing"


def test_only_places_that_are_opened_must_be_there(bundle: Path) -> None:
    shutil.rmtree(bundle / "alice")
    assert list(open_bundle(bundle, ("bob",)).plans) == ["bob"]
    assert "alice" in refused(bundle)


def test_what_runs_is_what_was_hashed(bundle: Path) -> None:
    """Between opening and running, somebody puts other files in the places of those that were checked."""
    opened = open_bundle(bundle)
    for file in (bundle / "alice").iterdir():
        file.write_bytes(b"somebody else's")
    session = Session(opened)
    inputs = handmade.batch(np.random.default_rng(0), 8)
    assert math.isfinite(session.step(inputs).loss)
    assert set(encoders(opened)["parties"]) == {"alice", "bob"}


def test_hashes_must_fit_too(bundle: Path) -> None:
    def swapped(manifest: Any) -> None:
        manifest["contents"]["alice"] = manifest["contents"]["bob"]

    change(bundle / "manifest.json", swapped)
    assert "alice" in refused(bundle)


RECEIVE = {"do": "receive", "message": "alice>bob.forward"}
PLAN: dict[str, Callable[[Any], object]] = {
    "format 2": lambda p: p.update(format=2),
    "'weights' is missing": lambda p: p.pop("weights"),
    "expected a list": lambda p: p.update(inputs={}),
    "expected an object": lambda p: p.update(graphs=[]),
    "expected a text": lambda p: p["inputs"][0].update(id=3),
    "expected an integer": lambda p: p["train"].update(batch=0),
    "expected true or false": lambda p: p["train"].update(shuffle=1),
    "expected a number": lambda p: p["reports"]["train"]["losses"][0].update(coefficient="1"),
    "does not start as 'unit_forget'": lambda p: p["weights"][0]["init"].update(kind="unit_forget"),
    "expected one of zeros": lambda p: p["weights"][0]["init"].update(kind="magic"),
    "expected a name": lambda p: p.update(tables=["../bob"]),
    "other tables than in encoders.json": lambda p: p.update(tables=[]),
    "is there twice": lambda p: p["inputs"].append(p["inputs"][0]),
    "another bundle": lambda p: p.update(precision="float64"),
    "which is not an array": lambda p: p["weights"][0].update(array="elsewhere"),
    "do not fill its shape [30, 2]": lambda p: p["weights"][1].update(offset=19),
    "do not fill its shape [3, 1]": lambda p: p["arrays"][1].update(shape=[3, 1]),
    "names optimizer 'adam'": lambda p: p["updates"][0].update(optimizer="adam"),
    "no array or changed twice": lambda p: p["updates"][1].update(array="b.w"),
    "has not the size": lambda p: p["updates"][0].update(size=4),
    "which is not a table": rows_of_no_table,
    "no fitting update graphs": lambda p: p["optimizers"][0]["slots"].append({"name": "v", "init": 0.0}),
    "an assign names no array": lambda p: p["assigns"][0].update(array="b.w"),
    "secret.onnx is missing": lambda p: p["graphs"]["b.train"].update(file="../../secret.onnx"),
    "b.other.onnx is missing": lambda p: p["graphs"]["b.train"].update(file="b.other.onnx"),
    "needs 'a.v', which is not there yet": lambda p: p["programs"]["train"].pop(0),
    "needs 'nothing'": lambda p: p["reports"]["predict"]["predictions"][0].update(value="nothing"),
    "needs 'bob.y', which is not there yet": set_step("predict", 1, graph="b.evaluate"),
    "which is no graph": lambda p: p["programs"]["train"][1].update(graph="nothing"),
    "may not send 'alice>bob.forward'": set_step("train", 2, message="alice>bob.forward"),
    "may not receive 'bob>alice.backward'": set_step("predict", 0, message="bob>alice.backward"),
    "may not receive 'alice>bob.forward'": lambda p: p["programs"]["train"].append(RECEIVE),
    "makes update 'rows.b'": lambda p: p["programs"]["evaluate"].append({"do": "update", "update": "rows.b"}),
    "assigns 'b.w'": lambda p: p["programs"]["train"].append({"do": "assign", "array": "b.w"}),
    "is the plan of 'alice'": lambda p: p.update(place="alice"),
}  # fmt: skip


@pytest.mark.parametrize("sizes", [[2**62, 4], [2**63], [2**40, 2**40], [1, 2**64]])
def test_a_weight_of_more_numbers_than_there_are_addresses(sizes: list[int], bundle: Path) -> None:
    def grow(plan: Any) -> None:
        plan["weights"][0]["shape"] = plan["arrays"][0]["shape"] = sizes

    change(bundle / "bob" / "plan.json", grow)
    assert "expected the sizes of an array" in compiled(bundle)


@pytest.mark.parametrize("message", PLAN)
def test_a_damaged_plan(bundle: Path, message: str) -> None:
    change(bundle / "bob" / "plan.json", PLAN[message])
    assert message in compiled(bundle)


MANIFEST: dict[str, Callable[[Any], object]] = {
    "expected different places": lambda m: m.update(places=["bob", "bob"]),
    "expected a name": lambda m: m["places"].append("../x"),
    "expected one of alice, bob": lambda m: m["edges"][0].update(to="carol"),
    "one id": lambda m: m["edges"].append(m["edges"][0]),
    "is not one of this message's places": lambda m: m["messages"][0].update(edges=["gradient.a.v"]),
    "is not declared for train": lambda m: m["edges"][0].update(programs=["predict"]),
    "expected at least one edge": lambda m: m["messages"][0].update(edges=[]),
    "format 0": lambda m: m.update(format=0),
    "'contents' is missing": lambda m: m.pop("contents"),
    "expected an object": lambda m: m.update(contents={"alice": "0" * 64, "bob": "0" * 64}),
    "expected the places alice, bob": lambda m: m["contents"].update(carol={}),
    "'bob' is missing": lambda m: m["contents"].pop("bob"),
    "expected a SHA-256": lambda m: m["contents"]["bob"].update({"plan.json": "0" * 63}),
    "expected the name of a file": lambda m: m["contents"]["bob"].update({"../alice/plan.json": "0" * 64}),
}


@pytest.mark.parametrize("message", MANIFEST)
def test_a_damaged_manifest(bundle: Path, message: str) -> None:
    change(bundle / "manifest.json", MANIFEST[message])
    assert message in refused(bundle)


def test_a_manifest_changed_after_compilation(bundle: Path) -> None:
    file = bundle / "manifest.json"
    file.write_text(file.read_text().replace('"batch", 2', '"batch", 3'))
    assert "its digest does not match" in refused(bundle)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, "\ud800"])
@pytest.mark.parametrize("file", ["manifest.json", "alice/plan.json"])
def test_json_that_is_none(bundle: Path, file: str, content: str) -> None:
    (bundle / file).write_text(content, errors="replace")
    assert Path(file).name in (refused(bundle) if file == "manifest.json" else compiled(bundle))


def test_missing_files(bundle: Path, tmp_path: Path) -> None:
    assert "manifest.json is missing" in refused(tmp_path / "nowhere")
    (bundle / "bob" / "plan.json").unlink()
    assert "plan" in refused(bundle)


def test_a_graph_that_is_none(bundle: Path) -> None:
    (bundle / "bob" / "b.train.onnx").write_bytes(b"\x08\x99nonsense")
    assert "b.train.onnx is not an ONNX model" in compiled(bundle)


def test_a_graph_with_other_inputs(bundle: Path) -> None:
    shutil.copy(bundle / "bob" / "b.predict.onnx", bundle / "bob" / "b.evaluate.onnx")
    assert "other inputs or outputs" in compiled(bundle)


def test_a_graph_whose_data_lies_elsewhere(bundle: Path) -> None:
    path = bundle / "bob" / "b.train.onnx"
    model = onnx.load(path)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "/etc/passwd")
    path.write_bytes(model.SerializeToString())
    assert "outside of the bundle" in compiled(bundle)


def test_weights_that_fit_no_memory(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def huge(plan: Any) -> None:
        plan["weights"][0]["shape"] = plan["arrays"][0]["shape"] = [2**55, 2]

    change(bundle / "alice" / "plan.json", huge)
    sign(bundle)
    with pytest.raises(Failure, match="cannot lie in a file") as caught:  # where large tables lie
        Session(bundle)
    assert caught.value.code == "VFL0791"
    monkeypatch.setenv("VFLC_TABLES", "memory")
    assert "do not fit in memory" in compiled(bundle)
