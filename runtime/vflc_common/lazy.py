"""Modules that are imported when something is computed with them: to check a spec none of them is."""

from importlib import import_module
from typing import Any


class Lazy:
    """Stands for a module, in functions; where a module looks an attribute up, it is imported."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(import_module(self._module), name)
        setattr(self, name, found)
        return found
