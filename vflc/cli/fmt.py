"""`vflc fmt`: specs in the one way of writing them."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import click

from vflc.cli.options import SPEC


@click.command("fmt")
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True, type=SPEC)
@click.option("--check", is_flag=True, help="Write nothing; exit with code 1 if something would change.")
@click.option("--diff", is_flag=True, help="Print what would change; write nothing.")
@click.pass_context
def command(context: click.Context, specs: tuple[Path, ...], check: bool, diff: bool) -> None:
    """Format each SPEC in place.

    A SPEC that is `-` is read from stdin and written to stdout.
    """
    from vflc.cli.rewrite import replace
    from vflc.syntax.format import format_spec
    from vflc.syntax.parser import read_source

    changed = []
    for path in specs:
        if str(path) == "-":
            click.echo(format_spec(sys.stdin.read(), "stdin"), nl=False)
            continue
        before = read_source(path).text
        after = format_spec(before, str(path))
        if after == before:
            continue
        changed.append(path)
        if diff:
            sides = before.splitlines(True), after.splitlines(True)
            click.echo("".join(difflib.unified_diff(*sides, str(path), f"{path} formatted")), nl=False)
        elif check:
            click.echo(f"would change {path}")
        else:
            replace(path, after)
            click.echo(f"formatted {path}")
    context.exit(1 if changed and (check or diff) else 0)
