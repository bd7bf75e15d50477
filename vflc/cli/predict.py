"""`vflc predict`: predictions by key, from raw columns to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from vflc.cli.options import RUN, data, engine, json_output, print_json, threads
from vflc.cli.outputs import check_output, force


@click.command("predict")
@click.argument("run", type=RUN)
@data
@engine
@threads
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="A .csv or .parquet file.")
@force
@click.option(
    "--top", type=click.IntRange(1), help="Population only: recommend this many items to each user."
)
@json_output
def command(
    run: Path,
    sources: dict[str, str],
    engine: str,
    threads: int | None,
    out: Path,
    force: bool,
    top: int | None,
    as_json: bool,
) -> None:
    """Write predictions of the model in RUN.

    The file has the key and, for each prediction, a column or one for each of its numbers. Labels are not
    needed. Users of a population are rebuilt from the rows that have a label; the rows that have none are
    predicted.
    """
    from vflc_runtime.run.opened import open_run

    from vflc.cli.options import only
    from vflc.cli.progress import loaded
    from vflc.cli.tables import console

    check_output(out, force, sources.values())
    screen, opened = console(aside=as_json), open_run(run)
    only({"threads": threads, "top": top}, opened.takes)
    rows = opened.predict(
        sources, out, engine, threads=threads, top=top, listen=lambda event: loaded(screen, event)
    )
    if as_json:
        print_json({"file": str(out), "rows": rows, "model": opened.folder.which()})
    else:
        click.echo(f"\nwrote {out}: {rows:,} rows, by {opened.folder.which()}")
    if rows == 1:
        _warn(opened.crossing("predict"))


def _warn(crossing: Sequence[str]) -> None:
    """What crosses for a single row is that row's: said where anything crosses."""
    from vflc.cli import failures
    from vflc.diagnostics import Diagnostic

    if crossing:
        message = f"one row was predicted, and {', '.join(crossing)} crossed for that row alone"
        help = "collect rows and predict them together"
        failures.show([Diagnostic("VFL0326", message, None, help, level="warning")])
