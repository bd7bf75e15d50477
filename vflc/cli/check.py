"""`vflc check`: everything that is wrong with a spec."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import click

from vflc.cli.options import SPEC


@click.command("check")
@click.argument("spec", type=SPEC)
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True
)
@click.option("--fix", is_flag=True, help="Write the grants that SPEC lacks into it first.")
@click.option(
    "--together",
    metavar="PARTY,…",
    help="Print what these parties may learn of others if they put together all that they are sent.",
)
@click.pass_context
def command(context: click.Context, spec: Path, form: str, fix: bool, together: str | None) -> None:
    """List all findings in SPEC. Exit code 1 where there are errors.

    With --fix, what others may learn and the spec does not grant is added to it as grants, each with a
    comment on what it gives. Read them before you keep them.
    """
    from vflc import driver

    if together and form != "text":
        raise click.UsageError("--together prints text: leave --format out")
    if fix:
        _fix(spec)
    found = driver.check(spec)
    if form == "text":
        from vflc.cli.failures import colours, width
        from vflc.diagnostics.render_text import render

        text = render(found, colours(sys.stdout), width(sys.stdout))
        click.echo(text if found else f"{spec}: no errors, no warnings")
    elif form == "json":
        from vflc.diagnostics.render_json import render as render_json

        click.echo(render_json(found))
    else:
        from vflc.diagnostics.render_sarif import render as render_sarif

        click.echo(render_sarif(found))
    if together and not any(finding.level == "error" for finding in found):
        from vflc.cli.learned import paragraphs

        places = tuple(name.strip() for name in together.split(","))
        click.echo(f"\n{paragraphs(driver.learned_together(spec, places))}")
    context.exit(1 if any(finding.level == "error" for finding in found) else 0)


def _fix(spec: Path) -> None:
    """Adds missing grants to the file and shows them; what else is wrong with it is listed afterwards."""
    from vflc import driver
    from vflc.cli.rewrite import replace
    from vflc.diagnostics import Refused
    from vflc.syntax.format import format_spec
    from vflc.syntax.parser import read_source

    source = read_source(spec)
    try:
        fixed = driver.fixed(source, spec.parent)
    except Refused:
        return
    if fixed == source.text:
        return
    fixed = format_spec(fixed, str(spec)) if format_spec(source.text, str(spec)) == source.text else fixed
    replace(spec, fixed)
    added = difflib.ndiff(source.text.splitlines(), fixed.splitlines())
    click.echo("\n".join(f"added {line[2:]}" for line in added if line.startswith("+ ") and line[2:].strip()))
