"""`vflc lsp` where pygls is not installed."""

import os
import subprocess
import sys
from pathlib import Path


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "pygls.py").write_text("raise ModuleNotFoundError('no', name='pygls')\n")
    process = subprocess.run(
        [sys.executable, "-m", "vflc", "lsp"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        input=b"",
        capture_output=True,
        check=False,
    )
    assert process.returncode == 1
    assert b"pip install 'vflc[lsp]'" in process.stderr
