"""`vflc compile`: a spec to its bundle, and the table of what crosses."""

from __future__ import annotations

from pathlib import Path

import click

from vflc.cli.options import PRECISIONS, SPEC


@click.command("compile")
@click.argument("spec", type=SPEC)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where the bundle goes.",
)
@click.option("--precision", type=PRECISIONS, default="float32", show_default=True)
def command(spec: Path, out: Path, precision: str) -> None:
    """Compile SPEC and print everything that will cross between the parties."""
    from vflc import driver
    from vflc.cli.failures import show
    from vflc.cli.tables import console, crossing

    bundle = driver.compile_spec(spec, precision=precision)
    bundle.write(out)
    if bundle.warnings:
        show(bundle.warnings)
    screen = console()
    screen.print(crossing(bundle.manifest))
    places = ", ".join(bundle.manifest["places"])
    click.echo(f"wrote {out}: a folder each for {places}; manifest {bundle.manifest['digest'][:16]}")
