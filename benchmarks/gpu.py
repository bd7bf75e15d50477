"""All of `--device cuda` on one GPU, in about five minutes: the same numbers, then rows a second.

    python benchmarks/gpu.py [--json FILE]

First `vflc verify` trains specs/deepfm on the processor and on the GPU and compares; then deepfm.py measures
it on the GPU beside PyTorch, compiled, with and without CUDA graphs, and beside Keras `fit` with XLA by JAX,
whichever are installed. Needs `vflc[gpu]` as docs/gpu.md installs it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from peers import PEERS as KNOWN

HERE = Path(__file__).resolve().parent
SPEC = HERE.parent / "specs" / "deepfm" / "deepfm.vfl"
BATCHES = (1024, 16384, 65536)
PEERS = ("torch-compiled", "torch-captured", "keras-jax")


def commands(json: Path | None) -> list[list[str]]:
    """What is run, one after another."""
    verify = [
        "-m",
        "vflc.cli.main",
        "verify",
        str(SPEC),
        "--device",
        "cuda",
        "--engines",
        "onnx",
        "--steps",
        "20",
    ]
    measure = [
        str(HERE / "deepfm.py"),
        "--device",
        "cuda",
        "--rows",
        "1000000",
        "--starts",
        "1",
        "--rounds",
        "5",
    ]
    measure += ["--seconds", "0.5", *(part for size in BATCHES for part in ("--batch", str(size)))]
    found = [name for name in PEERS if KNOWN[name].installed]
    measure += ["--peers", *found, *(["--json", str(json)] if json else [])]
    return [[sys.executable, *each] for each in (verify, measure)]


def main() -> None:
    """Verifies and measures; ends with what failed first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    options = parser.parse_args()
    for command in commands(options.json):
        if code := subprocess.run(command).returncode:
            sys.exit(code)


if __name__ == "__main__":
    main()
