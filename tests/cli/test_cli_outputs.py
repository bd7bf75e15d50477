"""No command replaces a file unasked, and none what it reads."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from test_cli_commands import DATA, done, vflc
from vflc_runtime.errors import Failure

from vflc.cli.outputs import check_output
from vflc.cli.train import bundle_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs") / "project"
    done(folder.parent, "init", "project")
    done(folder, "train", "model.vfl", *DATA, "--out", "run", "--epochs", "1", "--record", "2")
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project"))


def test_what_a_spec_compiles_to_goes_with_other_scratch(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the next start removes it where a process was killed; see tests/data/test_data_large.py."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with bundle_of(made / "model.vfl", None, "onnx") as bundle:
        assert (bundle / "manifest.json").is_file()
        assert [each.name[:13] for each in tmp_path.iterdir()] == ["vflc-scratch-"]
    assert not [*tmp_path.iterdir()]


FOLDERS = {
    "train": ("train", "model.vfl", "--data", "bank=none.csv", "--data", "shop=none.csv", "--out"),
    "tensorboard": ("train", "model.vfl", "--tensorboard"),
    "compile": ("compile", "model.vfl", "-o"),
    "certs": ("certs", "bank", "--out"),
    "export": ("export", "run", "-o"),
    "init": ("init",),
    "tune": ("tune", "model.vfl", *DATA, "--out"),
}


@pytest.mark.parametrize("command", FOLDERS)
def test_a_folder_that_cannot_be_made_is_refused_before_any_work(made: Path, command: str) -> None:
    for folder in ("model.vfl/x", "model.vfl/x/y"):
        refused = vflc(made, *FOLDERS[command], folder)
        said = f"error[VFL0612]: cannot write {folder}: model.vfl is a file"
        assert refused.returncode == 1 and refused.stderr.startswith(said), refused.stderr


BRIEF = ("--party", "bank", "--known", "10", "--no-bounds")
"""An audit of which only the file counts."""
COMMANDS = {
    "predict": ("predict", "run", *DATA, "-o"),
    "graph": ("graph", "model.vfl", "--format", "dot", "-o"),
    "audit --json": ("audit", "run", *DATA, *BRIEF, "--json"),
    "audit --html": ("audit", "run", *DATA, *BRIEF, "--html"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_there_stays_unless_forced(project: Path, command: str) -> None:
    file = project / "mine.csv"
    file.write_text("dear to me")
    refused = vflc(project, *COMMANDS[command], "mine.csv")
    assert refused.returncode == 1 and "error[VFL0623]: mine.csv already exists" in refused.stderr
    assert "--force" in refused.stderr and file.read_text() == "dear to me"
    done(project, *COMMANDS[command], "mine.csv", "--force")
    assert file.read_text() != "dear to me"
    private = command != "graph"
    assert (file.stat().st_mode & 0o077 == 0) == private


def test_a_folder_that_there_is_not_is_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(Failure) as failed:
        check_output(tmp_path / "no" / "such.csv", force=False)
    assert failed.value.code == "VFL0612" and f"there is no folder {tmp_path / 'no'}" in failed.value.message


@pytest.mark.parametrize("source", ["data/bank.csv", "data/b*.csv", "./data/../data/bank.csv",
                                    "sql:SELECT * FROM 'data/bank.csv'"])  # fmt: skip
@pytest.mark.parametrize("out", ["data/bank.csv", "data/link.csv"])
def test_what_is_read_is_never_replaced(project: Path, source: str, out: str) -> None:
    table = project / "data" / "bank.csv"
    (project / "data" / "link.csv").symlink_to(table)
    before = table.read_bytes()
    data = ("--data", f"bank={source}", "--data", "shop=data/shop.csv")
    refused = vflc(project, "predict", "run", *data, "-o", out, "--force")
    assert table.read_bytes() == before
    if not source.startswith("sql:") or out == "data/bank.csv":  # a query names no links, and the table stays
        assert refused.returncode == 1 and "error[VFL0623]" in refused.stderr and "an input" in refused.stderr


def test_a_folder_is_no_file(project: Path) -> None:
    refused = vflc(project, "predict", "run", *DATA, "-o", "data", "--force")
    assert refused.returncode == 1 and "is a folder" in refused.stderr
