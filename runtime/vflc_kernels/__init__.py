"""Operators of our own for onnxruntime, where it takes several passes over memory for what needs one.

The extension is optional: a source install without a C++ compiler goes without it, with the same results to
rounding, and `why_not` says so. `VFLC_KERNELS=off` in the environment does the same.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

from vflc_kernels.sources import digest

DOMAIN = "vflc.kernels"
"""Of our operators in ONNX graphs; engines put them in, files never have them."""
SWITCH = "VFLC_KERNELS"
HERE = Path(__file__).parent


def library() -> str | None:
    """The extension's file, for `SessionOptions.register_custom_ops_library`; None where it is not used."""
    return None if why_not() else str(_built())


def why_not() -> str:
    """Why the extension is not used, as the end of a sentence; empty where it is."""
    if os.environ.get(SWITCH, "on") == "off":
        return f"{SWITCH} is off"
    return _missing()


@cache
def _built() -> Path | None:
    return next((path for path in HERE.glob("_kernels*") if path.suffix in (".so", ".dylib", ".pyd")), None)


@cache
def _missing() -> str:
    path = _built()
    if path is None:
        return "vflc was installed without a C++ compiler"
    try:
        loaded = ctypes.CDLL(str(path))
        loaded.vflc_kernels_sources.restype = ctypes.c_char_p
        built = loaded.vflc_kernels_sources().decode("ascii")
    except (OSError, AttributeError):
        return f"{path.name} cannot be loaded on this machine"
    sources = HERE / "src"
    if sources.is_dir() and digest(sources) != built:
        return "its sources have changed since it was built; `pip install -e .` builds it"
    return ""
