"""`vflc explain`: what a code means and what to do about it."""

from __future__ import annotations

import sys

import click

from vflc.cli.options import json_output, print_json


@click.command("explain")
@click.argument("code", required=False)
@json_output
def command(code: str | None, as_json: bool) -> None:
    """Print the page of CODE, or list all codes."""
    from vflc.diagnostics.codes import CODES
    from vflc.diagnostics.explain import explain

    if code is None and as_json:
        print_json({"codes": CODES})
        return
    if code is None:
        click.echo("\n".join(f"{name}  {title}" for name, title in CODES.items()))
        return
    try:
        page = explain(code)
    except KeyError as error:
        raise click.ClickException(str(error.args[0])) from None
    if as_json:
        print_json({"code": code.upper(), "title": CODES.get(code.upper()), "page": page})
    elif sys.stdout.isatty():
        from rich.markdown import Markdown

        from vflc.cli.tables import console

        console().print(Markdown(page))
    else:
        click.echo(page, nl=False)
