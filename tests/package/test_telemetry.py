"""What vflc computes with tells nobody of it, unless a user wants that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SESSION = "from vflc_runtime.engines.onnx_session import CPU"
COMPILED = """
from vflc.diagnostics import SourceText
from vflc.driver import compile_source
compile_source(SourceText("s.vfl", '''
party a { key k feature x: float }
party b { key k label y: float }
h = dense(a.x, 2)
fuse at b { found = dense(h, 1) }
predict y = found
objective mse(found, b.y)
train { optimizer sgd(lr = 0.1) batch 8 }
release a { to b: x }
release b { to a: y }
'''))
"""


def written(code: str, folder: Path, **changed: str) -> list[str]:
    """The files that a program leaves in the user's cache, of none of what tells a service of tests."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("ORT_", "CI", "GITHUB_", "TF_BUILD"))}
    environment = {**kept, "HOME": str(folder), "XDG_CACHE_HOME": str(folder), **changed}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("code", [SESSION, COMPILED], ids=["session", "compiled"])
def test_onnxruntime_keeps_no_record_of_sessions(code: str, tmp_path: Path) -> None:
    """Since 1.29 it collects events in a data base, with the machine's id, and sends them to its maker."""
    assert written(code, tmp_path) == []


def test_where_it_was_imported_before_it_tells_of_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import onnxruntime as o; told = []; o.disable_telemetry_events = lambda: told.append(1);"
    for set_to, found in ((None, "[1]"), ("0", "[]")):
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
        if set_to is not None:
            monkeypatch.setenv("ORT_DISABLE_TELEMETRY", set_to)
        command = [sys.executable, "-c", f"{code} {SESSION}; print(told)"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == found
