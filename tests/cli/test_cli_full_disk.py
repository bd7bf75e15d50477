"""Commands on a full disk leave what was there, and nothing half."""

import errno
import os
from pathlib import Path

import pytest

from vflc.cli import init
from vflc.cli.main import run

SPEC = Path(__file__).parents[2] / "specs" / "deepfm" / "deepfm.vfl"


def full(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_init_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(init, "write_tables", full)
        assert run(["init", str(tmp_path / "new")]) == 1
    assert not any((tmp_path / "new").iterdir())
    assert run(["init", str(tmp_path / "new")]) == 0


def test_graph_keeps_the_picture_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tmp_path / "picture.mmd"
    assert run(["graph", str(SPEC), "-o", str(picture)]) == 0
    before = picture.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    assert run(["graph", str(SPEC), "-o", str(picture), "--format", "dot"]) == 1
    assert picture.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["picture.mmd"]
