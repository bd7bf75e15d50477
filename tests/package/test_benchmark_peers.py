"""What the benchmarks train with PyTorch, JAX and Keras trains as vflc does, for ten steps."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "build" / "peers"

SAME = """
import sys, json
from pathlib import Path
sys.path.insert(0, "benchmarks")
from contest import Ours, check_same, encoded_rows
from peers import PEERS
from peers.rows import COLUMNS
from vflc.driver import compile_spec
done = []
for model, spec, names in (
    ("deepfm", "specs/deepfm/deepfm.vfl", ("torch", "torch-compiled", "jax", "jax-split")),
    ("wide_deep", "benchmarks/specs/criteo.vfl", ("torch", "keras")),
):
    folder = Path(sys.argv[1]) / model
    compile_spec(spec := Path(spec)).write(folder)
    inputs = encoded_rows(folder, 700)
    peers = {PEERS[name].title: PEERS[name].make(model, *COLUMNS[model](inputs), 64) for name in names}
    check_same(Ours(folder, inputs, 64), peers, 700, 64)
    done += names
print(json.dumps(done))
"""


def test_peers_train_as_vflc_does(tmp_path: Path) -> None:
    """Ten steps of each, in the Python of `make peers`."""
    if not list(PEERS.glob("installed*")):
        pytest.skip("PyTorch and JAX are not installed: `make peers`")
    python = [str(PEERS / "bin" / "python"), "-c", SAME, str(tmp_path)]
    done = subprocess.run(python, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout.splitlines()[-1])) == 6
