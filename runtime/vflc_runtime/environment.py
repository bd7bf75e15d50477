"""What a run was made with: versions and the kind of machine; nothing that names it or its owner."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vflc_runtime.cores import cores

PACKAGES = ("vflc", "numpy", "onnxruntime", "onnxruntime-gpu", "pyarrow", "duckdb", "tensorflow", "keras")


def environment() -> dict[str, Any]:
    """`python`, `system`, `machine`, `processors` (those that this process may use) and `packages`."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": sys.platform,
        "machine": platform.machine(),
        "processors": cores(),
        "packages": found,
    }
