"""Builds the extension of `vflc_kernels`; all else that is to say stands in pyproject.toml.

Where there is no compiler, or it fails, vflc is installed without the extension and does without.
"""

import runpy
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = Path("runtime", "vflc_kernels", "src")
FLAGS = ["-std=c++17", "-O3", "-fvisibility=hidden"]
BITS = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
"""The same bits on every processor; no error numbers and traps, which nobody reads."""


class BuildLibrary(build_ext):
    """Builds a library that onnxruntime loads: it has nothing of Python in it, and needs no headers of it."""

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return list(ext.export_symbols)


digest = runpy.run_path("runtime/vflc_kernels/sources.py")["digest"]
setup(
    cmdclass={"build_ext": BuildLibrary},
    ext_modules=[
        Extension(
            "vflc_kernels._kernels",
            sources=sorted(str(path) for path in SOURCES.glob("*.cpp")),
            depends=sorted(str(path) for path in SOURCES.glob("*.h")),
            define_macros=[("VFLC_KERNELS_SOURCES", f'"{digest(SOURCES)}"')],
            extra_compile_args=FLAGS + BITS,
            language="c++",
            optional=True,
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
