"""A model written as one table, split by the compiler, beside itself unsplit: AUC epoch by epoch.

    python benchmarks/one_table.py [--data DIR] [--seeds N] [--epochs N] [--batch N]

Trains specs/one_table in both ways from the same seeds on the same rows, a fifth of them for validation, and
prints the validation AUC of every epoch. `--data DIR` is MovieLens 1M, unpacked or its archive; without it
rows like it are generated. Ends with 1 where the two differ by more than 0.001 in any epoch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from vflc_runtime.run.train import TrainOptions, train

from vflc.driver import compile_spec

SPEC = Path(__file__).resolve().parent.parent / "specs" / "one_table" / "one_table.vfl"
MOST = 0.001
"""By which the AUC of an epoch may differ."""
GENERATED = 40_000
"""Rows without `--data`."""
WAYS = {"split": False, "unsplit": True}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", help="MovieLens 1M, unpacked or its archive")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=1024)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = tables(arguments.data, Path(folder))
        worst = 0.0
        for seed in range(arguments.seeds):
            options = TrainOptions(
                seed=seed, epochs=arguments.epochs, batch=arguments.batch, validation=0.2, threads=1
            )
            worst = max(worst, compare(sources, Path(folder) / str(seed), options))
    print(f"largest difference {worst:.1e}; at most {MOST} is allowed")
    return int(worst > MOST)


def tables(data: str | None, folder: Path) -> dict[str, str]:
    """Both parties' files."""
    what = ["--from", data] if data else ["--generate", str(GENERATED)]
    script = [sys.executable, str(SPEC.parent / "prepare.py"), "--out", str(folder)]
    subprocess.run([*script, *what], check=True, stdout=subprocess.DEVNULL)
    return {file.stem: str(file) for file in folder.glob("*.parquet")}


def compare(
    sources: dict[str, str], folder: Path, options: TrainOptions, say: Callable[[str], object] = print
) -> float:
    """Trains in both ways, and says their AUCs; gives the largest difference of an epoch."""
    found = {}
    for way, unsplit in WAYS.items():
        compile_spec(SPEC, unsplit=unsplit).write(folder / way / "bundle")
        history = train(folder / way / "bundle", sources, folder / way / "run", options).history
        found[way] = [epoch["validation"]["auc"] for epoch in history]
        say(f"seed {options.seed} {way:>8} " + " ".join(f"{auc:.5f}" for auc in found[way]))
    return max(abs(a - b) for a, b in zip(*found.values(), strict=True))


if __name__ == "__main__":
    sys.exit(main())
