"""Tables of many rows: what memory each command takes, and how fast they are beside rows in memory.

    python benchmarks/reading.py [--rows N] [--commands NAME …] [--steps N] [--tables FOLDER]
                                 [--rated N] [--spec FILE] [--batch N] [--rounds N] [--json FILE]

Two Parquet tables of N rows in the form of specs/deepfm are aligned, trained on for an epoch, evaluated and
predicted, each by a process of its own, whose greatest resident memory is compared with 2 GiB: there, a ratio
above 1 means less than that. Then, in turn, an epoch of --rated rows is trained with their columns in memory
and in files, waiting for rows included, and they are predicted; with --rated 0 that is left out. Beside
training is also what numpy's BLAS takes for the matrix products of a forward pass alone.

--rows 100000000 takes an hour of processor time and 30 GB in TMPDIR; --steps ends the training after so many,
--commands runs some alone, and --tables keeps the tables in a folder, or takes them from there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from products import seconds

SPEC = Path(__file__).resolve().parent.parent / "specs" / "deepfm" / "deepfm.vfl"
GENRES = ("Action", "Adventure", "Animation", "Comedy", "Crime", "Drama", "Horror", "Western")
MEBIBYTES = 2048
PREDICTED, TIMES = 4096, 25
"""Rows that are predicted at once, and how often their products are computed."""
COMMANDS = ("align", "train", "evaluate", "predict")


def _number(seed: int, below: int) -> str:
    """SQL for a number below a bound that follows from a row's key."""
    return f"CAST(hash(ID + {seed}) % {below} AS BIGINT)"


USER, FILM = _number(1, 6040), _number(5, 3952)
TABLES = {
    "alice": f"{USER} AS UserID, ['F', 'M'][1 + {_number(2, 2)}] AS Gender, "
    f"[1, 18, 25, 35, 45, 50, 56][1 + {_number(3, 7)}] AS Age, {_number(4, 21)} AS Occupation",
    "bob": f"{FILM} AS MovieID, "
    f"{[*GENRES]}[1 + {_number(6, 8)}] || '|' || {[*GENRES]}[1 + {_number(7, 8)}] AS Genres, "
    f"1 + {USER} % 3 + {FILM} % 3 + {_number(8, 2)} AS Rating",
}
"""Columns of each party, from the key; the label follows from users and films."""


def tables(folder: Path, rows: int) -> dict[str, Path]:
    """Those of a folder, which are made where there are none."""
    found = {party: folder / f"{party}.parquet" for party in TABLES}
    return found if all(file.exists() for file in found.values()) else generate(folder, rows)


def generate(folder: Path, rows: int) -> dict[str, Path]:
    """Tables whose keys are the numbers below `rows`, in another order at each party."""
    size = 1 << (rows - 1).bit_length()
    found = {}
    for (party, columns), factor in zip(TABLES.items(), (2654435761, 1640531527), strict=True):
        found[party] = folder / f"{party}.parquet"
        keys = f"SELECT i * {factor} % {size} AS ID FROM range({size}) t(i)"
        query = f"SELECT ID, {columns} FROM ({keys}) WHERE ID < {rows}"
        with duckdb.connect(config={"memory_limit": "2GB"}) as connection:
            connection.execute(f"COPY ({query}) TO '{found[party]}'")
    return found


def resident(*arguments: object) -> tuple[float, float, float]:
    """MiB that a process of `vflc` had resident at most, and its seconds of wall and of processor."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "vflc", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return used.ru_maxrss / 1024, time.perf_counter() - started, used.ru_utime + used.ru_stime


def rate(folder: Path, data: dict[str, Path], batch: int, in_memory: int) -> float:
    """Rows a second of an epoch, waiting for them included; `in_memory` bytes of columns are in memory."""
    from vflc_runtime.data import dataset
    from vflc_runtime.run.train import TrainOptions, train

    before, dataset.IN_MEMORY = dataset.IN_MEMORY, in_memory
    try:
        result = train(
            folder / "b", data, folder / "rated", TrainOptions(epochs=1, batch=batch, overwrite=True)
        )
    finally:
        dataset.IN_MEMORY = before
    return float(result.metrics["rows_per_second"])


def predicted(folder: Path, data: dict[str, Path], rows: int) -> float:
    """Rows a second of prediction, from encoded rows to the file."""
    from vflc_runtime.data.output import write_table
    from vflc_runtime.events import silent
    from vflc_runtime.run.state import RunFolder
    from vflc_runtime.run.trained import trained_model

    model = trained_model(RunFolder(folder / "rated"), "predict", "onnx", silent)
    model.load(data, silent)
    started = time.perf_counter()
    write_table(folder / "rated.parquet", model.predicted(".parquet"))
    return rows / (time.perf_counter() - started)


def products(folder: Path) -> float:
    """Rows a second of the matrix products of a forward pass alone, by numpy's BLAS."""
    plans = [json.loads(file.read_text()) for file in (folder / "b").glob("*/plan.json")]
    shapes = [a["shape"] for plan in plans for a in plan["arrays"] if not a["table"] and len(a["shape"]) == 2]
    draw = np.random.default_rng(1)
    made = [(draw.random((PREDICTED, m), np.float32), draw.random((m, n), np.float32)) for m, n in shapes]
    wall, _ = seconds([(x, w, x @ w) for x, w in made], TIMES)
    return TIMES * PREDICTED / wall


def result(name: str, rows: int, ours: float, peer: float, ratios: list[float], unit: str) -> dict[str, Any]:
    """One line of the results, which is also printed."""
    ratio = statistics.median(ratios)
    print(f"{name:34} {rows:>12,} rows {ours:12,.0f} beside {peer:12,.0f} {unit}: {ratio:.2f}", flush=True)
    return {
        "name": name, "batch": rows, "ours": ours, "peer": peer, "ratio": ratio, "unit": unit,
        "least": min(ratios), "most": max(ratios),
    }  # fmt: skip


def memory(folder: Path, data: dict[str, Path], options: argparse.Namespace) -> list[dict[str, Any]]:
    """What each command had resident at most."""
    given = [word for party, file in data.items() for word in ("--data", f"{party}={file}")]
    run, found = folder / "run", []
    ends = ("--epochs", 1) if options.steps is None else ("--steps", options.steps)
    for name, arguments in {
        "align": ("align", "--key", "ID", *given),
        "train": ("train", folder / "b", *given, "--out", run, *ends, "--batch", options.batch),
        "evaluate": ("evaluate", run, *given),
        "predict": ("predict", run, *given, "-o", folder / "p.parquet"),
    }.items():
        if name not in options.commands:
            continue
        used, seconds, spent = resident(*arguments)
        line = result(f"memory of {name}", options.rows, used, MEBIBYTES, [MEBIBYTES / used], "MiB")
        print(
            f"{'':34} {seconds:.0f} s, {spent:.0f} s of processor: {spent / options.rows * 1e6:.2f} µs a row"
        )
        found.append(line | {"seconds": seconds, "cpu_seconds": spent})
    return found


def rates(folder: Path, data: dict[str, Path], rows: int, batch: int, rounds: int) -> list[dict[str, Any]]:
    """Training from files beside training from memory, and prediction beside training."""
    files, there, ahead, bound = [], [], [], []
    for _ in range(rounds):
        there.append(rate(folder, data, batch, 1 << 40))
        files.append(rate(folder, data, batch, 0))
        ahead.append(predicted(folder, data, rows))
        bound.append(products(folder))
    middle = statistics.median
    return [
        result("training from files", rows, middle(files), middle(there),
               [a / b for a, b in zip(files, there, strict=True)], "rows/s"),
        result("prediction beside training", rows, middle(ahead), middle(there),
               [a / b for a, b in zip(ahead, there, strict=True)], "rows/s"),
        result("forward products beside training", rows, middle(bound), middle(there),
               [a / b for a, b in zip(bound, there, strict=True)], "rows/s"),
    ]  # fmt: skip


def main() -> None:
    """Measures and prints."""
    from vflc.driver import compile_spec

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each table; 1000000")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS, metavar="NAME",
                        help=f"of which memory is measured: {', '.join(COMMANDS)}; all")  # fmt: skip
    parser.add_argument("--steps", type=int, metavar="N", help="end the training after so many; an epoch")
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="where tables lie, and stay; nowhere")
    parser.add_argument("--rated", type=int, default=500_000, help="of which rates are measured; 500000")
    parser.add_argument("--spec", type=Path, default=SPEC, help="with columns of specs/deepfm, which it is")
    parser.add_argument("--batch", type=int, default=1024, help="rows of a step; 1024")
    parser.add_argument("--rounds", type=int, default=3, help="in which rates are measured; 3")
    parser.add_argument("--json", type=Path, help="write the results to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compile_spec(options.spec).write(folder / "b")
        results = memory(folder, tables(options.tables or folder, options.rows), options)
        rows = min(options.rows, options.rated)
        if rows:
            results += rates(folder, generate(folder, rows), rows, options.batch, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
