"""`%%vfl` in a notebook: a cell is a spec, and its findings are shown under it.

`%load_ext vflc` adds it. `%%vfl NAME` compiles the cell and binds the model to `NAME`.
"""

from __future__ import annotations

from typing import Any

from vflc import driver
from vflc.api.errors import told
from vflc.api.model import Model
from vflc.diagnostics import SourceText
from vflc.diagnostics.render_text import render

USAGE = "give the model a name, as in `%%vfl model`"


def register(ipython: Any) -> None:
    """Adds the magic to an IPython shell."""

    def vfl(line: str, cell: str) -> Any:
        """`%%vfl NAME`: compiles the cell and binds the model to NAME."""
        name = line.strip()
        if not name.isidentifier():
            print(USAGE)
            return None
        model = compiled(cell, name)
        if model is not None:
            ipython.push({name: model})
        return model

    ipython.register_magic_function(vfl, magic_kind="cell")


def compiled(text: str, name: str) -> Model | None:
    """The model of a cell, or None if the text has mistakes. Prints the findings."""
    source = SourceText(f"{name}.vfl", text)
    examined = driver.examine(source)
    if examined.diagnostics:
        print(render(examined.diagnostics))
    if examined.refused:
        return None
    with told():
        return Model(driver.compile_source(source))
