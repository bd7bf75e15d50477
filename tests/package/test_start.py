"""`vflc check` starts at once: heavy packages are imported where they are used, not before."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

SPECS = sorted((Path(__file__).parents[2] / "specs").rglob("*.vfl"))
WRONG = sorted((Path(__file__).parents[1] / "syntax" / "bad").rglob("*.vfl"))
HEAVY = {"numpy", "tensorflow", "keras", "onnx", "onnxruntime", "duckdb", "pyarrow", "google", "lark"}
HEAVY |= {"networkx", "rich", "vflc_runtime"}

CHECK = """
import sys
from vflc.cli.main import run
code, *specs = sys.argv[1:]
assert {run(["check", spec]) for spec in specs} == {int(code)}
print("imported", *sorted(sys.modules))
"""
COUNTED = """
import sys
calls = 0
def count(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")
sys.setprofile(count)
from vflc.cli.main import run
code = run(["check", sys.argv[1]])
sys.setprofile(None)
print(calls)
sys.exit(code)
"""


def printed(code: str, *arguments: Path | str) -> list[str]:
    """The words of the last line that a program prints."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize(("code", "specs"), [("0", SPECS), ("1", WRONG)])
def test_check_imports_no_engine_and_no_runtime(code: str, specs: Sequence[Path]) -> None:
    """What a check is made of runs wherever Python runs."""
    imported = {name.partition(".")[0] for name in printed(CHECK, code, *specs)[1:]}
    assert "vflc" in imported and imported & HEAVY == set()


def test_check_does_little() -> None:
    """In calls of functions, 179,000 now: seconds, as `benchmarks/start.py` has them, tell of the machine."""
    assert int(printed(COUNTED, SPECS[0])[-1]) < 200_000
