"""What a benchmark needs beyond the core of vflc."""

from __future__ import annotations

import sys
from importlib.util import find_spec

MODULES = {"grpc": "grpc", "keras": "tensorflow", "psi": "private_set_intersection", "ray": "ray"}
"""A module of each extra."""


def need(*extras: str) -> None:
    """Ends the program with the command that installs the first extra that is missing."""
    for extra in extras:
        if find_spec(MODULES[extra]) is None:
            sys.exit(f"this benchmark needs {MODULES[extra]}: pip install 'vflc[{extra}]'")
