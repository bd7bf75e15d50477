"""`vflc`: the group of commands. Each is a file of this folder, imported when it is called."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Any

import click

from vflc import __version__
from vflc.cli.signals import terminable

COMMANDS = (
    "init", "check", "compile", "train", "evaluate", "predict", "export", "party",
    "align", "certs", "ledger", "verify", "audit", "graph", "fmt", "explain",
)  # fmt: skip


class Commands(click.Group):
    """Commands in the order of their use, loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"vflc.cli.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "; `vflc --help` lists them"
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def vflc() -> None:
    """Train one model over tables that several parties hold, from one spec."""


def main() -> None:
    """The entry point of the program.

    Modules and models are made of objects that stay. To look for garbage among them after every 700, and once
    more at the end, as Python does, takes a fifth of the time to check a spec.
    """
    gc.set_threshold(10_000)
    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code.

    0 done; 1 the user's input is wrong; 2 usage; 3 a peer or the network failed; 4 a defect in
    vflc; 130 interrupted, by Ctrl-C or SIGTERM.
    """
    try:
        with terminable():
            code = vflc.main(arguments, prog_name="vflc", standalone_mode=False)
            sys.stdout.flush()
    except BaseException as error:
        from vflc.cli.failures import report

        return report(error)
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
