"""Wide & Deep on Criteo-shaped rows: vflc split over two parties, beside others here and as published.

    python benchmarks/criteo.py [--peers PEER …] [--rows N] [--starts N] [--rounds N] [--busy] [--json FILE]

13 numbers and 26 categories, batch 512, the sizes of DeepRec's model zoo (specs/criteo.vfl): the
configuration with which DeepRec publishes rows a second on the 4 cores (8 threads, 3.3 GHz) of an Intel
Xeon 8369HC: https://github.com/DeepRec-AI/DeepRec/tree/main/modelzoo/wide_and_deep. Those figures are
per core beside vflc's here, with its cores: other processors, and DeepRec reads text and writes
summaries meanwhile, so that the ratio says in which class vflc is and no more. Keras and PyTorch are
measured here, as contest.py says: unsplit, with each embedding's gradient in the rows that a batch
reads, and the same two optimizers.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from contest import contest, parser, show
from extras import installed_peers

from vflc.driver import compile_spec

SPEC = Path(__file__).resolve().parent / "specs" / "criteo.vfl"
BATCHES = (512,)
PEERS = ("keras", "torch")
"""Those that the model is written for, with gradients of rows."""
PUBLISHED = {"TensorFlow 1.15": 8786.04, "DeepRec": 16393.65, "DeepRec, bfloat16": 22788.93}
"""Rows a second, on so many cores:"""
CORES = 4


def main() -> None:
    """Measures, prints and writes."""
    options = parser(__doc__, rows=100_000).parse_args()
    options.peers = [peer for peer in installed_peers(options.peers) if peer in PEERS]
    results = contest("wide_deep", compile_spec(SPEC), BATCHES, options)
    cores = len(os.sched_getaffinity(0))
    for title, rate in PUBLISHED.items():
        ours, peer = results[0]["ours"] / cores, rate / CORES
        found = {"name": f"wide_deep per core beside {title} as published", "batch": BATCHES[0], "ours": ours,
                 "peer": peer, "ratio": ours / peer, "unit": "rows/s"}  # fmt: skip
        results.append(found)
        show(found)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
