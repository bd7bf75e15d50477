"""In which order workers run the files of tests: each begins with a share of all, and then helps others."""

from __future__ import annotations

import functools
from pathlib import Path

HERE = Path(__file__).parent
FIRST = [
    "population/test_population_ray.py",
    "report/test_report_browser.py",
    "party",
    "transport",
    "sources",
    "extending",
]
"""What mostly waits for peers, clocks and processes: one worker runs it while the others work."""
IMPORTS = ("keras", "crosswise")
"""Words of files that import TensorFlow, most of them by what helps them."""


@functools.cache
def turn(path: Path) -> tuple[int, Path]:
    """When a file's turn is: what waits first, then what imports TensorFlow, so that few workers do."""
    place = path.relative_to(HERE).as_posix()
    for at, first in enumerate(FIRST):
        if place.startswith(first):
            return at, path
    text = path.read_text("utf-8").lower()
    return len(FIRST) + (not any(word in text for word in IMPORTS)), path
