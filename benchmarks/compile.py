"""Processor seconds to compile: the shipped specs, and deep, wide and repeated models of growing size.

    python benchmarks/compile.py [--json FILE]

Nodes are those of the graph as it is emitted, with gradients: eleven for a layer of a chain. The
targets: `vflc compile` of a shipped spec under 0.5 s, imports and all; 10,000 nodes under 5 s; and time
in proportion to nodes: the seconds a node of the large model of a kind are compared with those of the
small one. The least of some runs is taken, since seconds of a busy machine only ever grow.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.passes.pipeline import Watch

ROOT = Path(__file__).resolve().parent.parent
SPEC_SECONDS, NODES, SECONDS = 0.5, 10_000, 5.0
PARTIES = """
party alice {{ key ID  feature A{{1..{columns}}}: float }}
party bob {{ key ID  feature B{{1..{columns}}}: float  column Late: int  label late = Late }}
"""
END = """
predict late = sigmoid(logit)
objective bce(logit, bob.late)
train {{ optimizer adam(lr = 0.001) }}
release alice {{ to bob: A{{1..{columns}}} }}
release bob {{ to alice: late, B{{1..{columns}}} }}
"""
MODELS = {
    "chain of layers": "logit = dense(mlp(concat(alice.A1, bob.B1), [4 for i in 1..{size}]), 1)",
    "layer a column": (
        "logit = sum(concat([dense(f, 1) for f in alice.A{{1..{size}}}]"
        " + [dense(f, 1) for f in bob.B{{1..{size}}}]))"
    ),
}
"""Kinds of models, by `size`."""
SIZES = {"chain of layers": (150, 1500), "layer a column": (60, 600)}


def least(text: str) -> tuple[float, int]:
    """The least processor seconds of three to compile a text, and the nodes of the graph that is emitted."""
    counted = [0]

    def count(name: str, model: Any) -> None:
        counted[0] = len(model.graph)

    seconds = []
    for _ in range(3):
        start = time.process_time()
        compile_source(SourceText("model.vfl", text), watch=Watch(count))
        seconds.append(time.process_time() - start)
    return min(seconds), counted[0]


def command(spec: Path, out: str) -> float:
    """Processor seconds of `vflc compile`, as a user starts it, the least of two."""
    run = [sys.executable, "-m", "vflc.cli.main", "compile", str(spec), "-o", out]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    seconds = []
    for _ in range(2):
        process = subprocess.Popen(run, env=environment, **quiet)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{' '.join(run)} fails")
        seconds.append(used.ru_utime + used.ru_stime)
    return min(seconds)


def model(kind: str, size: int) -> str:
    """The text of a spec."""
    columns = 1 if kind == "chain of layers" else size
    return (PARTIES + MODELS[kind] + END).format(size=size, columns=columns)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    options = parser.parse_args()
    results = []

    def record(name: str, nodes: int, seconds: float, limit: float) -> None:
        size = f"{nodes:7,} nodes" if nodes else ""
        print(f"{name:40} {size:13}  {seconds:6.2f} s of {limit:.2f}", flush=True)
        results.append({"name": name, "batch": nodes, "ours": seconds, "peer": limit,
                        "ratio": seconds / limit, "unit": "s"})  # fmt: skip

    with tempfile.TemporaryDirectory() as folder:
        for spec in sorted((ROOT / "specs").rglob("*.vfl")):
            seconds = command(spec, str(Path(folder) / spec.stem))
            record(f"vflc compile {spec.stem}", 0, seconds, SPEC_SECONDS)
    for kind, sizes in SIZES.items():
        each = []
        for size in sizes:
            text = model(kind, size)
            seconds, nodes = least(text)
            record(f"compile a {kind}, {size:,}", nodes, seconds, SECONDS * nodes / NODES)
            each.append(seconds / nodes)
        print(f"{'':40} seconds a node: {each[-1] / each[0]:.2f} times those of the small one")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
