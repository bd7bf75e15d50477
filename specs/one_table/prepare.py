"""MovieLens 1M, or rows like it: the tables of specs/deepfm, of alice (profiles) and bob (ratings)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import main
from deepfm.prepare import generate, prepare

if __name__ == "__main__":
    sys.exit(main(__doc__, prepare, generate))
