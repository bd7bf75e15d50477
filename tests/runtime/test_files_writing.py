"""What is said where the disk refuses: what the system says, whoever wrote."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from vflc_runtime.errors import Failure
from vflc_runtime.files import writing


def test_a_folder_that_is_copied_onto_a_full_disk(tmp_path: Path) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)

    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    with pytest.raises(Failure) as caught, writing(tmp_path / "run"):
        shutil.copytree(tmp_path / "bundle", tmp_path / ".run.new", copy_function=full)
    said = f"cannot write {tmp_path / 'run'}: {os.strerror(errno.ENOSPC)}"
    assert (caught.value.code, caught.value.message) == ("VFL0612", said)
    assert "free some space" in str(caught.value.help)


def test_what_helps_against_a_refusal_that_is_not_about_room(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="VFL0612") as caught, writing(tmp_path / "no" / "such"):
        (tmp_path / "no" / "such").mkdir()
    assert str(caught.value.help).startswith("choose another place;")
