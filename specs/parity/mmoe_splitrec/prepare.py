"""Census Income, or rows like it: the tables of specs/mmoe, of alice (nine columns, both labels) and bob."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from common import main
from mmoe.prepare import generate, prepare

if __name__ == "__main__":
    sys.exit(main(__doc__, prepare, generate))
