"""Operators of our own for onnxruntime, where it takes several passes over memory for what needs one.

The extension is optional: a source install without a C++ compiler goes without it, with the same results to
rounding, and `missing` says so. `VFLC_KERNELS=off` in the environment does the same.
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
    return missing()


def identity() -> str:
    """All that the bits depend on that these operators give: which build it is, or that there is none."""
    path = library()
    if path is None:
        return "no kernels"
    loaded = ctypes.CDLL(path)
    loaded.vflc_kernels_sources.restype = ctypes.c_char_p
    return f"kernels {loaded.vflc_kernels_sources().decode('ascii')[:16]} {os.environ.get(SWITCH, 'on')}"


@cache
def _built() -> Path | None:
    return next((path for path in HERE.glob("_kernels*") if path.suffix in (".so", ".dylib", ".pyd")), None)


def products(bfloat16: bool) -> str | None:
    """What multiplies matrices here, by its name; None where nothing of ours does, or nothing has bfloat16.

    The bits of products depend on it. `VFLC_KERNELS=avx2` and `=generic` forbid what newer processors have.
    """
    if why_not():
        return None
    loaded = ctypes.CDLL(str(_built()))
    loaded.vflc_kernels_products.restype = ctypes.c_char_p
    found: bytes | None = loaded.vflc_kernels_products(int(bfloat16))
    return None if found is None else found.decode("ascii")


@cache
def missing() -> str:
    """Why the extension cannot be used here, as the end of a sentence; empty where it can."""
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
