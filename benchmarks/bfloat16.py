"""Products in bfloat16 beside products in float32: validation loss and AUC of the same training.

    python benchmarks/bfloat16.py [--data DIR] [--seeds N] [--epochs N] [--batch N] [--json FILE]

Trains specs/deepfm both ways from the same seeds on the same rows, a fifth of them for validation.
`--data DIR` is MovieLens 1M, unpacked or its archive; without it rows like it are generated. Ends with 1
where the mean difference over the seeds is more than the standard deviation of float32 over the seeds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev

import vflc_kernels
from vflc_runtime.run.train import TrainOptions, train

from vflc.driver import compile_spec

SPEC = Path(__file__).resolve().parent.parent / "specs" / "deepfm" / "deepfm.vfl"
GENERATED = 40_000
"""Rows without `--data`."""
WAYS = ("float32", "bfloat16")
Figures = dict[str, list[float]]
"""Of each way, one a seed."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", help="MovieLens 1M, unpacked or its archive")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    if vflc_kernels.products(bfloat16=True) is None:
        print("nothing here multiplies bfloat16, so there is nothing to compare")
        return 0
    losses, aucs = Figures(), Figures()
    with tempfile.TemporaryDirectory() as folder:
        sources = tables(arguments.data, Path(folder))
        for seed in range(arguments.seeds):
            options = TrainOptions(
                seed=seed, epochs=arguments.epochs, batch=arguments.batch, validation=0.2, threads=1
            )
            for way in WAYS:
                loss, auc = trained(way, sources, Path(folder) / f"{seed}-{way}", options)
                losses.setdefault(way, []).append(loss)
                aucs.setdefault(way, []).append(auc)
                print(f"seed {seed} {way:>8}: loss {loss:.5f}, AUC {auc:.5f}")
    found = {"loss": losses, "auc": aucs}
    if arguments.json:
        arguments.json.write_text(json.dumps([row(name, arguments.batch, found[name]) for name in found]))
    fine = [within(name, figures) for name, figures in found.items()]
    return int(not all(fine))


def tables(data: str | None, folder: Path) -> dict[str, str]:
    """Both parties' files."""
    what = ["--from", data] if data else ["--generate", str(GENERATED)]
    script = [sys.executable, str(SPEC.parent / "prepare.py"), "--out", str(folder)]
    subprocess.run([*script, *what], check=True, stdout=subprocess.DEVNULL)
    return {file.stem: str(file) for file in folder.glob("*.parquet")}


def trained(way: str, sources: dict[str, str], folder: Path, options: TrainOptions) -> tuple[float, float]:
    """Validation loss and AUC after the last epoch."""
    settings = {"precision": way, "best": "false"}
    compile_spec(SPEC, overrides=settings).write(folder / "bundle")
    done = train(folder / "bundle", sources, folder / "run", options)
    assert done.metrics["factors"] == way
    scores = done.history[-1]["validation"]
    return scores["loss"], scores["auc"]


def row(name: str, batch: int, figures: Figures) -> dict[str, object]:
    ours, peer = mean(figures["bfloat16"]), mean(figures["float32"])
    return {
        "name": f"bfloat16 {name}",
        "batch": batch,
        "ours": ours,
        "peer": peer,
        "ratio": ours / peer,
        "unit": name,
    }


def within(name: str, figures: Figures) -> bool:
    """Says how far both ways are from each other, and whether that is within what seeds make."""
    differences = [b - a for a, b in zip(figures["float32"], figures["bfloat16"], strict=True)]
    noise = stdev(figures["float32"])
    most = max(map(abs, differences))
    print(f"{name}: bfloat16 differs by {mean(differences):+.5f} on average, by {most:.5f} at most")
    print(f"{name}: float32 differs by {noise:.5f} from seed to seed, as a standard deviation")
    return abs(mean(differences)) <= noise


if __name__ == "__main__":
    sys.exit(main())
