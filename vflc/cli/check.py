"""`vflc check`: everything that is wrong with a spec."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vflc.cli.options import SPEC


@click.command("check")
@click.argument("spec", type=SPEC)
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True
)
@click.pass_context
def command(context: click.Context, spec: Path, form: str) -> None:
    """List all findings in SPEC. Exit code 1 where there are errors."""
    from vflc import driver

    found = driver.check(spec)
    if form == "text":
        from vflc.cli.failures import colours
        from vflc.diagnostics.render_text import render

        click.echo(
            render(found, colour=colours(sys.stdout)) if found else f"{spec}: nothing to say against it"
        )
    elif form == "json":
        from vflc.diagnostics.render_json import render as render_json

        click.echo(render_json(found))
    else:
        from vflc.diagnostics.render_sarif import render as render_sarif

        click.echo(render_sarif(found))
    context.exit(1 if any(finding.level == "error" for finding in found) else 0)
