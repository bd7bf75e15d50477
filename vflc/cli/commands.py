"""The group of commands. Each is a file of this folder, imported when it is called."""

from __future__ import annotations

import importlib
import keyword
from typing import Any

import click

from vflc import __version__

COMMANDS = (
    "init", "import", "check", "compile", "train", "evaluate", "predict", "compare", "report", "tune",
    "importance", "export", "party", "align", "certs", "ledger", "verify", "audit", "graph", "fmt",
    "explain", "lsp",
)  # fmt: skip


class Commands(click.Group):
    """Commands in the order of their use, loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = f"vflc.cli.{cmd_name}{'_' * keyword.iskeyword(cmd_name)}"
        command: click.Command = importlib.import_module(module).command
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
