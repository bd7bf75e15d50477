"""What a benchmark needs beyond the core of vflc."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from peers import PEERS

MODULES = {"grpc": "grpc", "keras": "tensorflow", "psi": "private_set_intersection", "ray": "ray"}
"""A module of each extra."""


def need(*extras: str) -> None:
    """Ends the program with the command that installs the first extra that is missing."""
    for extra in extras:
        if find_spec(MODULES[extra]) is None:
            sys.exit(f"this benchmark needs {MODULES[extra]}: pip install 'vflc[{extra}]'")


def installed_peers(named: Sequence[str] | None, device: str = "cpu") -> list[str]:
    """The peers that were named, or all that are installed; ends the program where there is none."""
    found = [name for name in named or PEERS if PEERS[name].installed and device in PEERS[name].devices]
    missing = [name for name in named or () if name not in found]
    if missing:
        sys.exit(f"{missing[0]} is not installed: `make peers`, then build/peers/bin/python")
    if not found:
        need("keras")
    return found
