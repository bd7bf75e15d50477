"""`vflc compile`: a spec to its bundle, and the list of what crosses."""

from __future__ import annotations

from pathlib import Path

import click
from vflc_common.words import BACKENDS

from vflc.cli.options import PRECISION, SPEC


@click.command("compile")
@click.argument("spec", type=SPEC)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where the bundle goes.",
)
@click.option(
    "--backend",
    type=click.Choice([*BACKENDS, "all"]),
    default="onnx",
    show_default=True,
    help="What graphs are written as.",
)
@click.option("--precision", type=PRECISION, default="float32", show_default=True)
def command(spec: Path, out: Path, backend: str, precision: str) -> None:
    """Compile SPEC and print what crosses.

    The bundle has a folder for each place and a manifest of everything that crosses between them.
    """
    from vflc_runtime.files import writing

    from vflc import driver
    from vflc.cli import failures
    from vflc.cli.crossings import crossing, waived
    from vflc.cli.learned import paragraphs
    from vflc.cli.tables import columns

    bundle = driver.compile_spec(
        spec, precision=precision, backends=BACKENDS if backend == "all" else (backend,)
    )
    with writing(out):
        bundle.write(out)
    if bundle.warnings:
        failures.show(bundle.warnings)
    if bundle.model.learned:
        click.echo(f"\n{paragraphs(bundle.model.learned, bundle.model.evidence)}")
    click.echo(f"\n{crossing(bundle.manifest, columns())}\n")
    for line in waived(bundle.manifest, columns()):
        click.echo(line)
    places = ", ".join(bundle.manifest["places"])
    click.echo(f"wrote {out}: a folder each for {places}; manifest {bundle.manifest['digest'][:16]}")
