"""Operators of our own for onnxruntime, where it takes several passes over memory for what needs one.

The extension is optional: a source install without a C++ compiler goes without it, with the same results to
rounding, and `missing` says so. `VFLC_KERNELS=off` in the environment does the same.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from vflc_kernels.sources import digest

DOMAIN = "vflc.kernels"
"""Of our operators in ONNX graphs; engines put them in, files never have them."""
SWITCH = "VFLC_KERNELS"
VALUES = ("on", "off", "avx512", "avx2", "generic")
"""Of the switch: the last three say what a processor has at most, whatever newer it has."""
HERE = Path(__file__).parent


def library() -> str | None:
    """The extension's file, for `SessionOptions.register_custom_ops_library`; None where it is not used."""
    return None if why_not() else str(_built())


def why_not() -> str:
    """Why the extension is not used, as the end of a sentence; empty where it is."""
    value = switched()
    if value == "off":
        return f"{SWITCH} is off"
    return missing() if value in VALUES else f"{SWITCH} is {value!r}, which is none of {', '.join(VALUES)}"


def switched() -> str:
    """What the environment says, which is one of `VALUES` unless somebody has mistyped it."""
    return os.environ.get(SWITCH) or "on"


def identity() -> str:
    """All that the bits depend on that these operators give: which build it is, or that there is none."""
    path = library()
    if path is None:
        return "no kernels"
    loaded = ctypes.CDLL(path)
    loaded.vflc_kernels_sources.restype = ctypes.c_char_p
    return f"kernels {loaded.vflc_kernels_sources().decode('ascii')[:16]} {switched()}"


@cache
def _built() -> Path | None:
    return next((path for path in HERE.glob("_kernels*") if path.suffix in (".so", ".dylib", ".pyd")), None)


def products(bfloat16: bool) -> str | None:
    """What multiplies matrices here, by its name; None where nothing of ours does, or nothing has bfloat16.

    The bits of products depend on it.
    """
    if why_not():
        return None
    loaded = ctypes.CDLL(str(_built()))
    loaded.vflc_kernels_products.restype = ctypes.c_char_p
    found: bytes | None = loaded.vflc_kernels_products(int(bfloat16))
    return None if found is None else found.decode("ascii")


@contextmanager
def pooled(threads: int) -> Iterator[None]:
    """Shares out operators of sessions that the calling thread makes in here by so many threads of one pool.

    The pool is the process's. With 0, or outside, they are shared out by the threads of their session. Bits
    do not depend on it. Only where the extension is used.
    """
    _setter("vflc_kernels_new_operators")(threads)
    try:
        yield
    finally:
        _setter("vflc_kernels_new_operators")(0)


def use_threads(most: int) -> None:
    """Operators that the calling thread runs are shared out by so many of the threads they have; 0 for all.

    Bits do not depend on it. Only where the extension is used.
    """
    _setter("vflc_kernels_threads")(most)


@cache
def _setter(name: str) -> Callable[[int], None]:
    function = ctypes.CDLL(str(_built()))[name]
    function.argtypes, function.restype = (ctypes.c_int,), None
    return function


def distinct() -> Callable[..., int] | None:
    """`vflc_kernels_distinct` of src/distinct.cpp, which takes addresses; None without the extension."""
    path = library()
    if path is None:
        return None
    found = ctypes.CDLL(path).vflc_kernels_distinct
    number, address = ctypes.c_int64, ctypes.c_void_p
    found.argtypes, found.restype = (number, address, address, number, address, address), number
    return found


@cache
def missing() -> str:
    """Why the extension cannot be used here, as the end of a sentence; empty where it can."""
    path = _built()
    if path is None:
        return "vflc was installed without a C++ compiler"
    try:
        if _cut_off(path):
            return f"{path.name} is cut off, as a build was interrupted"
        loaded = ctypes.CDLL(str(path))
        loaded.vflc_kernels_sources.restype = ctypes.c_char_p
        built = loaded.vflc_kernels_sources().decode("ascii")
    except (OSError, AttributeError):
        return f"{path.name} cannot be loaded on this machine"
    sources = HERE / "src"
    if sources.is_dir() and digest(sources) != built:
        return "its sources have changed since it was built; `pip install -e .` builds it"
    return ""


def _cut_off(path: Path) -> bool:
    """Whether a library for Linux ends before its table of sections, its last part: loading it crashes."""
    with path.open("rb") as file:
        head = file.read(64)
    if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
        return False
    (start,), (size, count) = struct.unpack_from("<Q", head, 40), struct.unpack_from("<HH", head, 58)
    return bool(path.stat().st_size < start + size * count)
