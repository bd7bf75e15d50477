"""`vflc compile`: a spec to its bundle, and the list of what crosses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from vflc_common.words import BACKENDS, DEFAULT_BACKEND

from vflc.cli.options import NEW_FOLDER, PRECISION, SPEC, json_output, overrides, print_json

if TYPE_CHECKING:
    from vflc.ir.stages import Lowered


@click.command("compile")
@click.argument("spec", type=SPEC)
@click.option(
    "-o",
    "--out",
    type=NEW_FOLDER,
    help="The folder for the bundle; optional with --explain and --dump-after.",
)
@click.option(
    "--backend",
    type=click.Choice([*BACKENDS, "all"]),
    default=DEFAULT_BACKEND,
    show_default=True,
    help="The format of the graphs.",
)
@click.option("--precision", type=PRECISION, default="float32", show_default=True)
@overrides
@click.option("--explain", is_flag=True, help="Print how the compiler has split what has no place.")
@click.option("--dump-after", metavar="PASS", help="Print the graph after a pass, for debugging vflc.")
@click.option(
    "--check-passes", is_flag=True, help="Check what each pass requires and ensures, for debugging vflc."
)
@json_output
def command(
    spec: Path,
    out: Path | None,
    backend: str,
    precision: str,
    overrides: dict[str, str],
    explain: bool,
    dump_after: str | None,
    check_passes: bool,
    as_json: bool,
) -> None:
    """Compile SPEC and print what crosses.

    The bundle has a folder for each place and a manifest of everything that crosses between them.
    """
    from vflc_runtime.files import writing

    from vflc import driver
    from vflc.cli import failures
    from vflc.cli.crossings import crossing, waived
    from vflc.cli.explained import explained
    from vflc.cli.learned import paragraphs
    from vflc.cli.tables import columns
    from vflc.ir.show import show_model
    from vflc.passes.pipeline import Watch

    if out is None and dump_after is None and not explain:
        raise click.UsageError("give the folder for the bundle: -o FOLDER")
    if as_json and (out is None or explain or dump_after is not None):
        raise click.UsageError("--json is for what is written with -o: remove --explain and --dump-after")
    passes: list[str] = []
    written: list[Lowered] = []

    def dump(name: str, model: Lowered) -> None:
        passes.append(name)
        if name == "prune":
            written.append(model)
        if name == dump_after:
            click.echo(show_model(model), nl=False)

    bundle = driver.compile_spec(
        spec,
        precision=precision,
        backends=BACKENDS if backend == "all" else (backend,),
        overrides=overrides,
        watch=Watch(dump, check_passes),
    )
    if dump_after is not None and dump_after not in passes:
        raise click.UsageError(f"{spec} has no pass {dump_after!r}; use one of: {', '.join(passes)}")
    if explain:
        click.echo(explained(written[0], bundle.model.pushed, columns()))
    if out is not None:
        with writing(out):
            bundle.write(out)
    if bundle.warnings and (explain or out is not None):
        failures.show(bundle.warnings)
    if as_json:
        print_json({"out": str(out), "manifest": bundle.manifest})
    if out is None or as_json:
        return
    if bundle.model.disclosed.learned:
        told = bundle.model.disclosed
        click.echo(f"\n{paragraphs(told.learned, told.evidence)}")
    click.echo(f"\n{crossing(bundle.manifest, columns())}\n")
    for line in waived(bundle.manifest, columns()):
        click.echo(line)
    places = ", ".join(bundle.manifest["places"])
    click.echo(f"wrote {out}: folders for {places}; manifest {bundle.manifest['digest'][:16]}")
