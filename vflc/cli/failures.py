"""Every way in which a command can end badly, as text on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

import click
from vflc_common.plugins import MEND, at_fault
from vflc_runtime.errors import TOO_MANY, Failure, too_many_files
from vflc_runtime.interrupts import Interrupted

from vflc.api.errors import diagnostic
from vflc.cli.terminal import shown_on
from vflc.diagnostics import Diagnostic, Refused

DEFECT = 4
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
UNWRITABLE |= {errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EEXIST}


def report(error: BaseException) -> int:
    """Says what went wrong and returns the exit code."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.ClickException():
            error.show()
            return error.exit_code
        case SystemExit():
            return error.code if isinstance(error.code, int) else 1
        case KeyboardInterrupt() | click.Abort():
            raise KeyboardInterrupt from error  # which `vflc.cli.main` ends as it does any other
        case BrokenPipeError():
            # Whoever read our output went away; closing it again at exit must not fail either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        case Interrupted():
            print(error, file=sys.stderr)
            return error.exit_code
        case Refused():
            show(error.diagnostics)
            return 1
        case Failure():
            show([diagnostic(error)])
            return error.exit_code
        case OSError() if error.errno in TOO_MANY:
            name = f" {os.fspath(error.filename)!r}" if error.filename else ""
            show([diagnostic(failure := too_many_files(f"cannot open{name}", error.errno))])
            return failure.exit_code
        case OSError() if error.errno in UNWRITABLE:
            name = f" {os.fspath(error.filename)!r}" if error.filename else ""
            show(
                [
                    Diagnostic(
                        "VFL0612",
                        f"cannot write{name}: {error.strerror}",
                        help="choose another folder or make room",
                    )
                ]
            )
            return 1
        case _ if (broken := at_fault(error)) is not None:
            show([Diagnostic("VFL0695", broken.message, help=MEND)])
            return 1
        case _:
            return defect(error)


def mention(warnings: Sequence[Diagnostic], spec: os.PathLike[str]) -> None:
    """Counts warnings on stderr; `vflc check` and `vflc compile` say what they are."""
    count = f"{len(warnings)} warning{'s' * (len(warnings) > 1)}"
    print(f"{count} about {os.fspath(spec)}: `vflc check` shows them", file=sys.stderr)


def show(diagnostics: Sequence[Diagnostic]) -> None:
    """Renders findings on stderr, with colours where it is a terminal."""

    print(shown_on(sys.stderr, diagnostics), file=sys.stderr)


def defect(error: BaseException) -> int:
    """A mistake of ours: one line, and the traceback where it can be sent from."""
    text = "".join(traceback.format_exception(error))
    summary = f"a bug in vflc: {type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
    if os.environ.get("VFLC_DEBUG"):
        print(text, file=sys.stderr)
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="vflc-defect-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(text)
        print(f"{summary}\nplease report it with {file.name}", file=sys.stderr)
    except OSError:
        print(f"{summary}\n{text}", file=sys.stderr)
    return DEFECT
