"""vflc: a declarative language and compiler for vertical model graphs.

    model = vflc.compile("deepfm.vfl")
    run = model.fit({"alice": frame, "bob": "bob.parquet"})
    run.predict(new)

`docs/python.md` has all of it. Nothing but this file is imported before it is used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, which is not imported: Ctrl-C is not heard yet
if TYPE_CHECKING:
    from typing import Any

    from vflc.api.errors import Error as Error
    from vflc.api.model import Model as Model
    from vflc.api.model import compile as compile
    from vflc.api.run import Run as Run
    from vflc.api.run import load as load

__version__ = "0.1.0"
__all__ = ["Error", "Model", "Run", "__version__", "compile", "load"]
_WHERE = {"Error": "errors", "Model": "model", "compile": "model", "Run": "run", "load": "run"}


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext vflc`: the cell magic `%%vfl`."""
    from vflc.api.notebook import register

    register(ipython)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'vflc' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"vflc.api.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
