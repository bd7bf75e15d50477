"""The pages of codes: what is behind a finding."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from vflc.diagnostics.codes import CODES
from vflc.diagnostics.explain import explain
from vflc.lsp.places import LspJson


def page(code: str) -> LspJson:
    """The page of a code, as `vflc explain` finds it, and its title.

    Raises:
        KeyError: there is no such code.
    """
    text = explain(code)
    found = text.removeprefix("# ").partition(":")[0]
    return {"code": found, "title": CODES[found], "page": text}


def uri(code: str) -> str | None:
    """Where the page lies; None of a code without one, and where packages are no files."""
    found = files("vflc.diagnostics") / "pages" / f"{code}.md"
    return found.resolve().as_uri() if isinstance(found, Path) and found.is_file() else None
