"""A split network on wide tables: 1,500 numbers a party, beside a training that SecretFlow publishes.

    python benchmarks/wide.py [--rows N] [--columns N] [--batch N] [--epochs N] [--json FILE]

SecretFlow publishes "NN Training (split learning)", two parties of 800,000 rows and 1,500 features
each, one of them with the label: 6,844 s until it converges, on 32 virtual cores (16 cores) and 256 GB
a party, over a network of 100 Mbit/s with 50 ms of delay (docs/developer/benchmark/overall_benchmark.md
of https://github.com/secretflow/secretflow, of 2024-02-21).

What can be compared: the size of the tables, two parties with a network each, cut at its end, and that
nothing is encrypted but the wire. What cannot: its layers, its batch and its number of epochs are not
published, so that the ratio here is how many epochs vflc trains in its time, of the network below; and
here both parties share the cores of one machine without a network between them. What that network would
add is computed from the bundle's bytes a row and two delays a step, and printed. `--rows 800000` is its
full size, which takes 10 GB; an epoch takes time in proportion to rows. Columns are numbers as they are
in memory; reading and encoding are not timed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from contest import Array, Ours, result, show

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SECONDS, ROWS, COLUMNS = 6844, 800_000, 1_500
"""Of the published training."""
BITS, DELAY = 100e6, 0.050
"""A second, and seconds, of its network."""
UNITS = (128, 64)
SPEC = """
party alice {{
  key row
  feature F{{1..{columns}}}: float
  column  Late: int
  label   late = Late
}}
party bob {{
  key row
  feature F{{1..{columns}}}: float
}}
a = mlp(concat(alice.F{{1..{columns}}}), [{units}])
b = mlp(concat(bob.F{{1..{columns}}}), [{units}])
fuse at alice {{
  logit = dense(mlp(concat(a, b), [64]), 1)
}}
predict late = sigmoid(logit)
objective bce(logit, alice.late)
train {{
  optimizer adam(lr = 0.001)
  batch 1024
}}
release alice {{ to bob: late, F{{1..{columns}}} }}
release bob {{ to alice: F{{1..{columns}}} }}
"""


def tables(rows: int, columns: int) -> dict[str, Array]:
    """Encoded columns by input id: normal numbers, and a label that follows some of them."""
    random = np.random.default_rng(1)
    inputs, score = {}, np.zeros((rows, 1), np.float32)
    for party in ("alice", "bob"):
        for number in range(1, columns + 1):
            column = inputs[f"{party}.F{number}"] = random.standard_normal((rows, 1), np.float32)
            if number <= 20:
                score += column
    inputs["alice.late"] = (score + 4 * random.standard_normal((rows, 1)) > 0).astype(np.float32)
    return inputs


def network_seconds(bundle: Path, rows: int, batch: int) -> float:
    """What an epoch's messages take on the published network, where nothing else is done meanwhile."""
    edges = json.loads((bundle / "manifest.json").read_text())["edges"]
    crossing = sum(edge["bytes_per_row"] for edge in edges if "train" in edge["programs"])
    return float(rows * crossing * 8 / BITS + -(-rows // batch) * 2 * DELAY)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000, help="of each party (default 20,000)")
    parser.add_argument("--columns", type=int, default=COLUMNS, help="of each party (default 1,500)")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=3, help="to time, after a first (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    options = parser.parse_args()
    units = ", ".join(map(str, UNITS))
    with tempfile.TemporaryDirectory() as folder:
        text = SPEC.format(columns=options.columns, units=units)
        compile_source(SourceText("wide.vfl", text)).write(Path(folder))
        ours = Ours(Path(folder), tables(options.rows, options.columns), options.batch)
        steps = options.rows // options.batch
        seconds = [ours.epoch(steps) for _ in range(options.epochs + 1)][1:]
        wire = network_seconds(Path(folder), ROWS, options.batch)
    rates = [steps * options.batch / each for each in seconds]
    name = f"wide: epochs in SecretFlow's {SECONDS:,} s"
    found = result(name, options.batch, rates, [ROWS / SECONDS] * len(rates))
    show(found)
    print(
        f"an epoch of {ROWS:,} rows takes {ROWS / found['ours']:,.1f} s at this rate, measured on "
        f"{options.rows:,}; on its network messages alone would take another {wire:,.0f} s"
    )
    if options.json:
        found |= {"epoch_seconds": ROWS / found["ours"], "network_seconds": wire, "rows": options.rows}
        options.json.write_text(json.dumps([found], indent=1) + "\n")


if __name__ == "__main__":
    main()
