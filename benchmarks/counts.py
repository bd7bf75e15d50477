"""What a compilation and a training step do, in counts: the same on every machine, busy or not.

    python benchmarks/counts.py [--write] [--check]

For each spec the calls of Python functions to compile it; of a step of training, once its memory is there,
the calls, the messages with their bytes, and the bytes that Python and numpy allocate at most; and the
operators of all graphs together. `--check` ends with 1 where a count is more than 5 % above that of
counts.json, and `--write` writes that file. Calls are those of one version of Python: with another they are
not compared.

Counts say nothing of how long a call takes: `benchmarks/deepfm.py` measures that. They find what crept in.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.bundle.plan import Plan
from vflc_runtime.data.generate import generate
from vflc_runtime.events import silent
from vflc_runtime.run import loading
from vflc_runtime.run.session import Session
from vflc_runtime.transport.messages import Envelope

from vflc.driver import compile_spec

ROOT = Path(__file__).resolve().parent.parent
SPECS = ("deepfm", "one_table", "mmoe", "three_parties")
FILE = Path(__file__).with_name("counts.json")
BATCH = 128
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MORE = 0.05
"""By which a count may be above the one in the file."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name}")
    parser.add_argument("--check", action="store_true", help="end with 1 where a count grew by more than 5 %")
    given = parser.parse_args()
    found = {spec: counts(ROOT / "specs" / spec / f"{spec}.vfl") for spec in SPECS}
    names = list(next(iter(found.values())))
    print(f"{'':14}" + "".join(f"{name:>18}" for name in names))
    for spec, each in found.items():
        print(f"{spec:14}" + "".join(f"{each[name]:18,}" for name in names))
    if given.write:
        FILE.write_text(json.dumps({"python": PYTHON, "specs": found}, indent=1) + "\n")
    grown = compared(found) if given.check else []
    print(*grown, sep="\n")
    return int(bool(grown))


def compared(found: dict[str, dict[str, int]]) -> list[str]:
    """What grew by more than it may since the file was written, a line each."""
    before = json.loads(FILE.read_text())
    return [
        f"{spec}: {name} {old:,} → {found[spec][name]:,}"
        for spec, each in before["specs"].items()
        for name, old in each.items()
        if found[spec][name] > (1 + MORE) * old and (before["python"] == PYTHON or "calls" not in name)
    ]


def counts(spec: Path) -> dict[str, int]:
    """The counts of a spec, by what is counted."""
    compile_spec(spec)  # what is imported and made once is not counted
    with tempfile.TemporaryDirectory() as folder:
        bundle = compile_spec(spec)
        found = {"compile: calls": calls(lambda: compile_spec(spec))}
        bundle.write(Path(folder))
        return found | step(Path(folder))


def step(folder: Path) -> dict[str, int]:
    """The counts of a step of training."""
    opened = open_bundle(folder)
    sent: list[int] = []
    session = Session(opened, threads=1, listen=lambda message: sent.append(size(message)))
    tables = generate(loading.encoders(opened), BATCH, seed=0)
    rows = loading.load_training(opened, tables, {"seed": 0, "validation": 0.0, "fold": 0}, None, silent)
    batch = rows.batch(np.arange(BATCH))
    for _ in range(3):
        session.step(batch)
    sent.clear()
    session.step(batch)
    messages, bytes_sent = len(sent), sum(sent)
    tracemalloc.start()
    peaks = [allocated(lambda: session.step(batch)) for _ in range(10)]
    tracemalloc.stop()
    return {
        "step: calls": calls(lambda: session.step(batch)),
        "operators": sum(map(operators, opened.plans.values())),
        "messages": messages,
        "bytes sent": bytes_sent,
        "bytes allocated": min(peaks[1:]),
    }


def size(message: Envelope) -> int:
    """Bytes of the arrays of a message."""
    return sum(array.nbytes for array in message.tensors.values())


def operators(plan: Plan) -> int:
    """Those of all graphs of a place."""
    return sum(len(onnx.load_from_string(plan.graph_content(name)).graph.node) for name in plan.graphs)


def allocated(work: Callable[[], Any]) -> int:
    """Bytes that `work` holds at most, beyond those held before; tracemalloc is on."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    work()
    return tracemalloc.get_traced_memory()[1] - before


def calls(work: Callable[[], Any]) -> int:
    """Calls of functions in Python, of its own and of built-in ones, while `work` runs."""
    counted = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


if __name__ == "__main__":
    sys.exit(main())
