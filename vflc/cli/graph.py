"""`vflc graph`: a picture of who computes what and what crosses."""

from __future__ import annotations

from pathlib import Path

import click

from vflc.cli.options import SPEC, overrides
from vflc.cli.outputs import check_output, force


@click.command("graph")
@click.argument("spec", type=SPEC)
@click.option("--format", "form", type=click.Choice(["mermaid", "dot"]), default="mermaid", show_default=True)
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; default: stdout.")
@overrides
@force
def command(spec: Path, form: str, out: Path | None, overrides: dict[str, str], force: bool) -> None:
    """Draw who computes what.

    A cluster for each place, an arrow for each message of a training step.
    """
    from vflc import driver
    from vflc.emit.manifest.diagram import FORMATS

    check_output(out, force, [str(spec)])
    text = FORMATS[form](driver.compile_spec(spec, overrides=overrides).manifest)
    if out is None:
        click.echo(text, nl=False)
    else:
        from vflc_runtime.files import replace_with

        replace_with(out, text.encode(), private=False)
