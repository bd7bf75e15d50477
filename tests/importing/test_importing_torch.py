"""Models that PyTorch exports: torch, the ONNX file and the imported, compiled, split spec agree.

Torch writes the files in a process of its own, with the Python of `make torch` (docs/testing.md): it is
large, and nothing else needs it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from importing_testing import inputs
from onnx import numpy_helper
from onnx_testing import both, session

from vflc.cli.main import run as vflc
from vflc.importing.run import WrittenSpec, import_model, weights_of

HERE = Path(__file__).resolve().parent
INSTALLED = HERE.parents[1] / "build" / "torch"
OWNERS: dict[str, dict[str, list[str]]] = {
    "logistic": {"alice": ["x1", "x2"], "bob": ["x3", "x4", "x5"]},
    "deepfm": {"alice": ["user", "city"], "bob": ["item"]},
    "wide_deep": {"alice": ["user", "price"], "bob": ["item", "city"]},
    "dcn": {"alice": ["user"], "bob": ["item", "price"]},
    "mmoe": {"alice": ["x1", "x2", "x3"], "bob": ["x4", "x5", "x6"]},
    "two_tower": {"alice": ["user", "age"], "bob": ["item"]},
    "one_tensor": {"alice": ["x1", "x3"], "bob": ["x2"]},
    "mixed": {"bob": ["x1", "x2", "x3", "x4"]},
}
"""Each model, and who owns its columns; the label is bob's."""


@pytest.fixture(scope="module")
def python() -> str:
    """The Python that has torch."""
    given = os.environ.get("VFLC_TORCH")
    if given is None and not list(INSTALLED.glob("installed*")):
        assert not os.environ.get("CI"), f"nothing is installed in {INSTALLED}: run `make torch`"
        pytest.skip("PyTorch is not installed: `make torch`")
    return given or str(INSTALLED / "bin" / "python")


def page() -> dict[str, str]:
    """The first block of each kind in the part of docs/importing.md about PyTorch."""
    text = (HERE.parents[1] / "docs" / "importing.md").read_text("utf-8")
    kinds = r"^```(python torch|sh|vfl from torch)\n(.*?)^```"
    part = text.partition("## Models from PyTorch")[2]
    return dict(reversed(re.findall(kinds, part, re.MULTILINE | re.DOTALL)))


@pytest.fixture(scope="module")
def exported(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what torch wrote, once for all workers."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, script = root / "torch", str(HERE / "torch_models.py")
    written = tmp_path_factory.mktemp("page") / "page.py"
    written.write_text(page()["python torch"], "utf-8")
    with (root / "torch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            made = tmp_path_factory.mktemp("torch")
            command = [python, script, str(made), str(written)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
            assert done.returncode == 0, done.stderr[-3000:]
            made.rename(folder)
    return folder


def labels(name: str) -> dict[str, Sequence[str]]:
    return {"bob": ["first", "second"] if name == "mmoe" else ["liked"]}


def table(held: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the inputs: of a vector `x`, `x1`, `x2`, …"""
    found = {}
    for key, array in held.items():
        name, many = key.removeprefix("in_"), array.reshape(len(array), -1)
        if key.startswith("in_"):
            one = many.shape[1] == 1
            found |= {name if one else f"{name}{i + 1}": many[:, i] for i in range(many.shape[1])}
    return found


@pytest.mark.parametrize("way", ["default", "legacy"])
@pytest.mark.parametrize("name", OWNERS)
def test_the_same_numbers(name: str, way: str, exported: Path, tmp_path: Path) -> None:
    """Torch's own, onnxruntime's, and those of the parties, to 1e-5; whatever way it is exported."""
    path, held = exported / f"{name}.{way}.onnx", np.load(exported / f"{name}.npz")
    spec, found, of_file = both(path, OWNERS[name], labels(name), table(held), tmp_path)
    for at, (mine, theirs) in enumerate(zip(found, of_file, strict=True)):
        wanted = held[f"out_{at}"]
        np.testing.assert_allclose(theirs, wanted, rtol=0, atol=1e-5)
        np.testing.assert_allclose(mine.reshape(wanted.shape), wanted, rtol=0, atol=1e-5, err_msg=spec.text)


def after(path: Path, held: Mapping[str, Any], folder: Path) -> Path:
    """The file with the parameters that torch's training ended with."""
    made = onnx.load(path)
    for tensor in made.graph.initializer:
        if (key := f"after_{tensor.name}") in held:
            tensor.CopyFrom(numpy_helper.from_array(held[key], tensor.name))
    onnx.save(made, folder / path.name)
    return folder / path.name


@pytest.mark.parametrize("name", [name for name in OWNERS if name != "mixed"])
def test_five_steps_are_those_of_torch(name: str, exported: Path, tmp_path: Path) -> None:
    """From the imported weights, split, in float64: every weight to 1e-8 of what torch's SGD makes of it."""
    path, held = exported / f"{name}.double.onnx", np.load(exported / f"{name}.npz")
    spec = import_model(path, OWNERS[name], labels(name))
    trained = WrittenSpec(f"{spec.text}\ntrain {{ optimizer sgd(lr = 0.1) }}\n", spec.weights, (), spec.held)
    made = session(trained, path, tmp_path / "bundle", "float64")
    columns = table(held)
    tables = {party: {each: columns[each] for each in names} for party, names in OWNERS[name].items()}
    tables["bob"] |= {label: held[f"label_{at}"].astype(int) for at, label in enumerate(labels(name)["bob"])}
    given = inputs(made, tables, tmp_path)
    for _ in range(5):
        made.step(given, 8)
    wanted = weights_of(path, import_model(after(path, held, tmp_path), OWNERS[name], labels(name)))
    found, start = made.weights(), weights_of(path, spec)
    assert set(found) == set(wanted)
    for weight, value in found.items():
        np.testing.assert_allclose(value, wanted[weight], rtol=0, atol=1e-8, err_msg=f"{weight}\n{spec.text}")
    assert any(not np.allclose(value, start[weight], atol=1e-4) for weight, value in found.items())


def test_names_are_those_of_the_modules(exported: Path) -> None:
    """What a person called a module is a binding; layers of a `Sequential` are one `mlp`."""
    text = import_model(exported / "deepfm.default.onnx", OWNERS["deepfm"], labels("deepfm")).text
    assert "deep    = mlp(flatten(factors), [16, 8, 1], last = linear)" in text
    assert "factors = embed(" in text and "first   = embed(" in text and "objective bce(" in text
    for way in ("legacy", "double"):
        other = import_model(exported / f"deepfm.{way}.onnx", OWNERS["deepfm"], labels("deepfm")).text
        assert other.partition("\n")[2] == text.partition("\n")[2], way


def test_the_example_of_the_page(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """docs/importing.md: what torch writes there, and what the command makes of it."""
    blocks = page()
    for name in re.findall(r"[\w.]+\.onnx\b", blocks["python torch"]):
        for file in exported.glob(f"{name}*"):
            shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert vflc(blocks["sh"].replace("\\\n", " ").split()[1:]) == 0, capsys.readouterr().err
    assert (tmp_path / "ratings.vfl").read_text("utf-8") == blocks["vfl from torch"]
    assert (tmp_path / "ratings.safetensors").exists()
