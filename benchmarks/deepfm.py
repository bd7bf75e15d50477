"""DeepFM on MovieLens-shaped rows: vflc split over two parties beside other frameworks on the unsplit model.

    python benchmarks/deepfm.py [--peers PEER …] [--rows N] [--starts N] [--rounds N] [--busy] [--json FILE]

Peers are those that are installed: Keras with `fit`, as it is and with XLA; PyTorch, eager and compiled;
JAX, whole and split by hand. `make peers` installs all of them, for `build/peers/bin/python`. contest.py says
how they are compared. vflc's rows catch up with the steps that they missed, as if every row moved in every
step, which they do in the others' Adam.
"""

from __future__ import annotations

from pathlib import Path

from contest import contest, parser
from extras import installed_peers

from vflc.driver import compile_spec

SPEC = Path(__file__).resolve().parent.parent / "specs" / "deepfm" / "deepfm.vfl"
BATCHES = (128, 1024, 4096)
GPU_BATCHES = (1024, 4096, 16384, 65536)


def main() -> None:
    """Measures, prints and writes."""
    options = parser(__doc__, rows=200_000).parse_args()
    options.peers = installed_peers(options.peers, options.device)
    batches = BATCHES if options.device == "cpu" else GPU_BATCHES
    contest("deepfm", compile_spec(SPEC), batches, options)


if __name__ == "__main__":
    main()
