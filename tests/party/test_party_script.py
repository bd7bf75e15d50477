"""The script that docs/network.md shows: two processes with TLS between them, from nothing to a result."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from partying import tensors
from ports import free_ports
from vflc_runtime.run.train import TrainOptions, train

ROOT = Path(__file__).parents[2]
SHOWN = re.compile(r"^specs/deepfm/two_parties.sh (\S+) (.+)$", re.MULTILINE)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["rows made up", "tables elsewhere"])
def test_the_script_trains_what_one_process_trains(tmp_path: Path, elsewhere: bool) -> None:
    shown = SHOWN.search((ROOT / "docs/network.md").read_text("utf-8"))
    assert shown is not None and shown[2] == "--epochs 2"
    command = ["sh", str(ROOT / "specs/deepfm/two_parties.sh"), shown[1], *shown[2].split()]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PORT": str(free_ports(1)[0]), "ROWS": "900"}
    tables = tmp_path / shown[1] / "data"
    if elsewhere:
        tables = tmp_path / "lies elsewhere"
        prepare = [sys.executable, str(ROOT / "specs/deepfm/prepare.py"), "--generate", "1000"]
        subprocess.run([*prepare, "--out", str(tables)], check=True, capture_output=True)
        env["TABLES"] = str(tables)
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all epochs are done" in done.stdout and "seconds waited" in done.stdout
    folder = tmp_path / shown[1]
    assert "loss" not in (folder / "alice.log").read_text()
    sources = {party: str(tables / f"{party}.parquet") for party in ("alice", "bob")}
    train(folder / "bundle", sources, tmp_path / "alone", TrainOptions(epochs=2))
    for party in sources:
        assert tensors(folder / party, party) == tensors(tmp_path / "alone", party)
