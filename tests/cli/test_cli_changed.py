"""Programs changed after compilation run nowhere: the digest says what every party runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import helper
from signing import sign
from test_cli_commands import DATA, done, vflc
from vflc_runtime.bundle.manifest import read_manifest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a bundle and a run."""
    folder = tmp_path_factory.mktemp("changed") / "project"
    done(folder.parent, "init", "project")
    done(folder, "compile", "model.vfl", "-o", "build")
    done(folder, "train", "build", *DATA, "--out", "run", "--epochs", "1", "--record", "2")
    (folder / "deploy.toml").write_text(
        '[parties.bank]\naddress = "127.0.0.1:9"\ndata = "data/bank.csv"\n'
        '[parties.shop]\ndata = "data/shop.csv"\n'
    )
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project"))


def leak(bundle: Path, name: str) -> None:
    """What bank sends becomes a raw column: of the same shape and type as before."""
    path = bundle / "bank" / name
    model = onnx.load_model(path)
    edges = json.loads((bundle / "manifest.json").read_bytes())["edges"]
    sent = {edge["value"] for edge in edges if edge["from"] == "bank"}
    graph = model.graph
    output = next(each for each in graph.output if each.name in sent)
    raw = next(each for each in graph.input if each.name.startswith("bank."))
    for node in graph.node:
        node.output[:] = ["unused" if name == output.name else name for name in node.output]
    width = output.type.tensor_type.shape.dim[1].dim_value
    graph.initializer.append(helper.make_tensor("row", onnx.TensorProto.INT64, [2], [-1, 1]))
    graph.initializer.append(helper.make_tensor("wide", onnx.TensorProto.INT64, [2], [1, width]))
    graph.node.extend([
        helper.make_node("Cast", [raw.name], ["cast"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Reshape", ["cast", "row"], ["column"]),
        helper.make_node("Expand", ["column", "wide"], [output.name]),
    ])  # fmt: skip
    onnx.save_model(model, path)


GRAPHS = ("forward.onnx", "evaluate.onnx", "predict.onnx")
BUNDLE = {
    "train": ("train", "build", *DATA, "--out", "new"),
    "party": ("party", "bank", "build", "--deploy", "deploy.toml", "--insecure", "--out", "new"),
    "audit": ("audit", "build", *DATA, "--steps", "2"),
}
RUN = {
    "resume": ("train", *DATA, "--out", "run", "--resume", "--epochs", "2"),
    "evaluate": ("evaluate", "run", *DATA),
    "predict": ("predict", "run", *DATA, "-o", "new.csv"),
    "export": ("export", "run", "-o", "new"),
    "audit": ("audit", "run", *DATA),
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("command", BUNDLE)
def test_a_changed_bundle_runs_nowhere(project: Path, command: str, name: str) -> None:
    leak(project / "build", name)
    refused = vflc(project, *BUNDLE[command])
    assert refused.returncode == 1
    assert f"error[VFL0613]: build/bank/{name} was changed after it was compiled" in refused.stderr
    assert not (project / "new").exists()


def test_what_a_compiler_would_have_written_has_another_digest(project: Path) -> None:
    """The edited graph runs: it is the digest alone that keeps it from running unnoticed."""
    before = read_manifest(project / "build" / "manifest.json").digest
    leak(project / "build", "forward.onnx")
    sign(project / "build")
    done(project, *BUNDLE["train"], "--epochs", "1")
    assert read_manifest(project / "build" / "manifest.json").digest != before


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("command", RUN)
def test_a_run_whose_bundle_was_changed_is_of_no_use(project: Path, command: str, name: str) -> None:
    leak(project / "run" / "bundle", name)
    refused = vflc(project, *RUN[command])
    assert refused.returncode == 1
    assert f"error[VFL0613]: run/bundle/bank/{name} was changed after it was compiled" in refused.stderr
    assert not (project / "new").exists() and not (project / "new.csv").exists()


@pytest.mark.parametrize("command", RUN)
def test_another_bundle_in_the_place_of_the_run_s(project: Path, command: str) -> None:
    """Whole in itself, but not what was trained."""
    spec = project / "model.vfl"
    spec.write_text(spec.read_text() + "\n")
    done(project, "compile", "model.vfl", "-o", "other")
    shutil.rmtree(project / "run" / "bundle")
    shutil.copytree(project / "other", project / "run" / "bundle")
    refused = vflc(project, *RUN[command])
    assert refused.returncode == 1 and "error[VFL0625]" in refused.stderr
    assert "is not the bundle that this run was made from" in refused.stderr
