"""`vflc check`: everything that is wrong with a spec."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vflc.cli.options import SPEC, json_output, overrides, print_json

if TYPE_CHECKING:
    from vflc.driver import Examined


@click.command("check")
@click.argument("spec", type=SPEC)
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True
)
@click.option(
    "--fix",
    is_flag=True,
    help="First add missing grants to SPEC, and remove obsolete waivers.",
)
@click.option(
    "--together",
    metavar="PARTY,…",
    help="Print what these parties may learn of others by combining all that they receive.",
)
@overrides
@json_output
@click.pass_context
def command(
    context: click.Context,
    spec: Path,
    form: str,
    fix: bool,
    together: str | None,
    overrides: dict[str, str],
    as_json: bool,
) -> None:
    """List all findings in SPEC. Exit code 1 where there are errors.

    With --fix, what others may learn and the spec does not grant is added to it as grants, each with a
    comment on what it gives. Read them before you keep them. Waivers of what is no finding any more are taken
    out.
    """
    from vflc import driver

    places = tuple(dict.fromkeys(name.strip() for name in (together or "").split(",") if name.strip()))
    if together is not None and (form != "text" or as_json):
        raise click.UsageError("--together prints text: remove --format and --json")
    if as_json and form != "text":
        raise click.UsageError("--json is a format of its own: remove --format")
    if together is not None and not places:
        raise click.UsageError("--together needs parties: --together bob,carol")
    if fix and overrides:
        raise click.UsageError("--fix writes SPEC as it is: remove --set")
    examined = driver.examine_file(spec, overrides)
    if fix:
        examined = _fix(spec, examined, form != "text" or as_json)
    found = examined.diagnostics
    if as_json:
        from vflc.diagnostics.diagnostic import in_order
        from vflc.diagnostics.render_json import as_object

        print_json({"spec": str(spec), "findings": [as_object(each) for each in in_order(found)]})
    elif form == "text":
        if found:
            from vflc.cli.terminal import shown_on

            click.echo(shown_on(sys.stdout, found))
        else:
            click.echo(f"{spec}: no errors, no warnings")
    elif form == "json":
        from vflc.diagnostics.render_json import render as render_json

        click.echo(render_json(found))
    else:
        from vflc.diagnostics.render_sarif import render as render_sarif

        click.echo(render_sarif(found))
    if places and examined.model and not examined.refused:
        from vflc.cli.learned import paragraphs

        click.echo(f"\n{paragraphs(driver.learned_together(examined.model, places))}")
    context.exit(1 if examined.refused else 0)


def _fix(path: Path, examined: Examined, quiet: bool) -> Examined:
    """Mends the file and shows what was changed; what else is wrong with it is listed afterwards.

    `quiet` keeps stdout for a program that reads it.
    """
    from difflib import ndiff

    from vflc import driver
    from vflc.cli.rewrite import replace
    from vflc.diagnostics import SourceText
    from vflc.syntax.format import format_spec

    before = examined.source
    text = driver.repaired(examined)
    if text == before.text:
        return examined
    text = format_spec(text, str(path)) if format_spec(before.text, str(path)) == before.text else text
    replace(path, text)
    words = {"+ ": "added", "- ": "removed"}
    for line in ndiff(before.text.splitlines(), text.splitlines()):
        if line[:2] in words and line[2:].strip():
            click.echo(f"{words[line[:2]]} {line[2:]}", err=quiet)
    return driver.examine(SourceText(before.name, text), path.parent)
