"""`vflc`: where a command starts and how it ends.

Nothing but this is imported before Ctrl-C is heard.
"""

from __future__ import annotations

import gc
import os
import sys

INTERRUPTED = 130


def main() -> None:
    """The entry point of the program.

    Modules and models are made of objects that stay. To look for garbage among them after every 700, and once
    more at the end, as Python does, takes a fifth of the time to check a spec.
    """
    gc.set_threshold(50_000)
    _open_closed()
    try:
        code = run(sys.argv[1:])
        _end_at_once()
    except KeyboardInterrupt:  # one more, while the first one was answered
        code = INTERRUPTED
    gc.freeze()
    sys.exit(code)


def _open_closed() -> None:
    """Leads a closed standard stream (`>&-`) to nobody: else a file would get its number, and its text."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123


def _end_at_once() -> None:
    """Lets Ctrl-C end the process from here on, as Python would print where it was on its own way out."""
    from signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal

    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, SIG_DFL)


def run(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code.

    0 done; 1 the user's input is wrong; 2 usage; 3 a peer or the network failed; 4 a defect in
    vflc; 130 interrupted, by Ctrl-C or SIGTERM.
    """
    try:
        return _ended(arguments)
    except KeyboardInterrupt:  # an import may have ended halfway, so that nothing more is imported here
        return interrupted()


def interrupted() -> int:
    """Says so, and returns the exit code."""
    print("interrupted", file=sys.stderr)
    return INTERRUPTED


def _ended(arguments: list[str]) -> int:
    try:
        from vflc.cli.signals import terminable

        with terminable():
            from vflc.cli.commands import vflc

            code = vflc.main(arguments, prog_name="vflc", standalone_mode=False)
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        from vflc.cli.failures import report

        return report(error)
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
