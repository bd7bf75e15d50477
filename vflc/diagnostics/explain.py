"""The page of a code, as `vflc explain` prints it."""

from __future__ import annotations

from importlib import resources

from vflc.diagnostics.codes import CODES
from vflc.diagnostics.suggest import did_you_mean


def explain(code: str) -> str:
    """The Markdown page of `code` (`VFL0101`, `vfl0101` or `101`).

    Raises:
        KeyError: there is no such code; its message says which may have been meant.
    """
    wanted = code.strip().upper()
    if wanted.isdecimal():
        wanted = f"VFL{wanted:0>4}"
    if wanted not in CODES:
        near = did_you_mean(wanted, CODES)
        raise KeyError(f"there is no code {code!r}" + (f"; did you mean {near}?" if near else ""))
    page = resources.files("vflc.diagnostics").joinpath("pages", f"{wanted}.md")
    return page.read_text(encoding="utf-8")
