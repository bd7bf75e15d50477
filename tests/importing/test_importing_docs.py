"""The example of docs/importing.md is what the command makes of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from keras_backend.keras_testing import needs_tensorflow

from vflc.cli.main import run as vflc
from vflc.importing.keras_columns import COLUMN_LAYERS
from vflc.importing.keras_sequences import READERS
from vflc.importing.keras_training import RULES
from vflc.translation.onnx_model import TABLE

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "importing.md").read_text("utf-8")


@needs_tensorflow
def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    found = re.findall(r"^```(sh|python|vfl imported)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    blocks = dict(reversed(found))  # the first of each kind
    exec(blocks["python"], {})
    command = blocks["sh"].replace("\\\n", " ").split()
    assert vflc(command[1:]) == 0, capsys.readouterr().err
    assert (tmp_path / "spec.vfl").read_text("utf-8") == blocks["vfl imported"]


def test_everything_that_is_read_is_in_the_table() -> None:
    known = {*READERS, *COLUMN_LAYERS, *RULES}
    assert all(f"`{name}`" in PAGE for name in known), [n for n in known if f"`{n}`" not in PAGE]


def test_every_operator_that_is_read_is_in_the_table() -> None:
    assert all(f"`{name}`" in PAGE for name in TABLE), [n for n in TABLE if f"`{n}`" not in PAGE]
