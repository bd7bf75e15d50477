"""`vflc check` starts at once: heavy packages are imported where they are used, not before."""

import subprocess
import sys
from pathlib import Path

SPECS = sorted((Path(__file__).parents[2] / "specs").rglob("*.vfl"))
HEAVY = {"numpy", "tensorflow", "keras", "onnx", "onnxruntime", "duckdb", "pyarrow", "google", "lark"}

CHECK = """
import sys
from vflc.cli.main import run
assert {run(["check", spec]) for spec in sys.argv[1:]} == {0}
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


def printed(code: str, *arguments: Path) -> list[str]:
    """The words of the last line that a program prints."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1].split()


def test_check_imports_no_engine() -> None:
    """Of the runtime only how a command ends: by a failure, or Ctrl-C."""
    imported = set(printed(CHECK, *SPECS)[1:])
    assert "vflc" in imported
    assert {name.partition(".")[0] for name in imported} & HEAVY == set()
    assert {name for name in imported if name.startswith("vflc_runtime.")} == {
        "vflc_runtime.errors", "vflc_runtime.interrupts",
    }  # fmt: skip


def test_check_does_little() -> None:
    """In calls of functions, half a million now: seconds would tell of the machine.

    To make the grammar's tables anew takes more calls than all the rest.
    """
    assert int(printed(COUNTED, SPECS[0])[-1]) < 900_000
