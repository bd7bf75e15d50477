"""The one exception that a user of `import vflc` meets: it has the diagnostics that the terminal prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from vflc_common.plugins import MEND, at_fault
from vflc_runtime.errors import Failure
from vflc_runtime.interrupts import Interrupted

from vflc.diagnostics import Diagnostic, Refused, SourceText, Span
from vflc.diagnostics.render_text import render


class Error(Exception):
    """A spec, a table or an option is wrong.

    Attributes:
        diagnostics: what is wrong and how to fix it, each with its code; printed as in the terminal.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(render(diagnostics, False, None))
        self.diagnostics = tuple(diagnostics)

    @property
    def code(self) -> str:
        """The code of the first diagnostic, such as `VFL0601`; `vflc explain CODE` prints its page."""
        return self.diagnostics[0].code


@contextmanager
def told() -> Iterator[None]:
    """Turns what the compiler and the runtime raise into `Error`, and a stopped run into Ctrl-C.

    Raises:
        Error: with all diagnostics; VFL0695 where a package beside vflc is at fault.
        KeyboardInterrupt: the run was interrupted.
    """
    try:
        yield
    except Refused as refused:
        raise Error(refused.diagnostics) from None
    except Failure as failure:
        raise Error([diagnostic(failure)]) from None
    except Interrupted as stopped:
        run = str(stopped.folder.parent.parent)  # of RUN/checkpoints/STEP
        text = f"stopped after step {stopped.step}; continue with vflc.load({run!r}).fit(…)"
        raise KeyboardInterrupt(text) from None
    except Exception as error:
        broken = at_fault(error)
        if broken is None:
            raise
        raise Error([Diagnostic("VFL0695", broken.message, help=MEND)]) from error


def diagnostic(failure: Failure) -> Diagnostic:
    """A failure of the runtime as a finding at the user's own line."""
    span = at(failure.where) if failure.where else None
    return Diagnostic(failure.code, failure.message, span, failure.help)


def at(where: Mapping[str, Any]) -> Span:
    """The span of a place that a plan carries: its one line of text, with empty lines before it."""
    before = "\n" * (int(where["line"]) - 1)
    source = SourceText(str(where["file"]), before + str(where["text"]))
    start, end = (len(before) + int(where[key]) - 1 for key in ("column", "end_column"))
    return Span(source, min(start, len(source.text)), min(max(start, end), len(source.text)))
