"""What is shipped: a wheel built from the sdist, and a runtime that needs nothing of the compiler."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "vflc", *(ROOT / "runtime" / f"vflc_{name}" for name in ("common", "kernels", "runtime")))

IMPORT_RUNTIME = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"vflc", "vflc_grammars", "lark", "networkx", "click", "rich"}:
            raise ModuleNotFoundError(f"a party's machine does not have {name}")

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import vflc_runtime
assert vflc_runtime.__file__.startswith(sys.argv[1]), vflc_runtime.__file__
for module in pkgutil.walk_packages(vflc_runtime.__path__, "vflc_runtime."):
    importlib.import_module(module.name)
    print(module.name)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the checkout, so that a build leaves nothing behind in it."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("vflc", "runtime", "grammars"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def test_wheel_from_sdist_holds_everything_and_its_runtime_stands_alone(source: Path, tmp_path: Path) -> None:
    """Built without a compiler, so without kernels, which all else can do without."""
    pytest.importorskip("build")
    built = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", source],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "CC": "false", "CXX": "false"},
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")

    wanted = {f"vflc_grammars/{path.name}" for path in (ROOT / "grammars").iterdir() if path.is_file()}
    for top in PACKAGES:
        wanted |= {
            path.relative_to(top.parent).as_posix()
            for path in top.rglob("*")
            if path.is_file() and not {"__pycache__", "src"} & {*path.parts} and path.suffix != ".so"
        }
    assert wanted - names == set()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "-cp311-abi3-" in wheel.name and not any(name.endswith(".so") for name in names)
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "runtime/vflc_kernels/src").iterdir()}
    assert {*sources, "setup.py"} <= packed

    alone = subprocess.run(
        [sys.executable, "-c", IMPORT_RUNTIME, tmp_path / "site"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    assert "vflc_runtime.errors" in alone.stdout.splitlines()


def test_pyproject_lists_every_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    found = {"vflc_grammars"}
    for top in PACKAGES:
        found |= {".".join(init.parent.relative_to(top.parent).parts) for init in top.rglob("__init__.py")}
    assert set(listed) == found
