"""The commands of pages run as they are written there, one after another, in one process."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from vflc.cli.main import run

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"<!-- test -->\s*```sh\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", ["trying.md", "json.md", "report.md", "how-to.md"])
def test_commands_of_a_page_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    text = "\n".join(BLOCK.findall((DOCS / page).read_text("utf-8"))).replace("\\\n", " ")
    for line in filter(None, text.splitlines()):
        command, *words = shlex.split(line.partition(" > ")[0])
        assert command == "vflc"
        assert run(words) == 0, (line, capsys.readouterr())
        out = capsys.readouterr().out
        if "--json" in words:
            json.loads(out)
