"""`vflc check` starts at once: heavy packages are imported where they are used, not before."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from vflc.driver import compile_spec, crossing, examine_file

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


SAID = """
import json, sys
from pathlib import Path
from vflc.driver import crossing, examine_file
said = {spec: crossing(examine_file(Path(spec))) for spec in sys.argv[1:]}
print(json.dumps([said, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_what_crosses_is_said_without_an_engine() -> None:
    """As the manifest of the bundle says it, for editors and pages: only what tells of files is left out."""
    done = subprocess.run([sys.executable, "-c", SAID, *SPECS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    said, imported = json.loads(done.stdout)
    assert set(imported) & (HEAVY - {"networkx"}) == set()
    for spec in SPECS:
        whole = compile_spec(spec).manifest
        assert said[str(spec)] == {
            name: whole[name] for name in whole if name not in ("contents", "digest", "page_sha256")
        }


@pytest.mark.parametrize("spec", WRONG, ids=lambda spec: spec.stem)
def test_what_crosses_is_not_said_of_no_model(spec: Path) -> None:
    assert crossing(examine_file(spec)) is None


def test_a_run_is_opened_without_an_engine() -> None:
    """A report, a search or a list of runs computes nothing."""
    said = "import sys, vflc_runtime.run.state; print(*sys.modules)"
    assert not {"onnxruntime", "onnx", "tensorflow"} & {*printed(said)}
