"""Findings as a terminal shows them, or whatever a stream leads to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any

from vflc.diagnostics import Diagnostic
from vflc.diagnostics.render_text import render


def shown_on(stream: Any, diagnostics: Sequence[Diagnostic]) -> str:
    """The findings as text for a stream, in colours and in lines of its width where it is a terminal."""
    return render(diagnostics, _colours(stream), _width(stream))


def _colours(stream: Any) -> bool:
    """Whether a stream shows colours; https://no-color.org is heard."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _width(stream: Any) -> int | None:
    """Columns of a terminal; None where a stream goes elsewhere, and no line has to be broken."""
    return shutil.get_terminal_size().columns if stream.isatty() else None
