"""`vflc explain`: what a code means and what to do about it."""

from __future__ import annotations

import sys

import click


@click.command("explain")
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """Print the page of CODE, or list all codes."""
    from vflc.diagnostics.codes import CODES
    from vflc.diagnostics.explain import explain

    if code is None:
        click.echo("\n".join(f"{name}  {title}" for name, title in CODES.items()))
        return
    try:
        page = explain(code)
    except KeyError as error:
        raise click.ClickException(str(error.args[0])) from None
    if sys.stdout.isatty():
        from rich.markdown import Markdown

        from vflc.cli.tables import console

        console().print(Markdown(page))
    else:
        click.echo(page, nl=False)
