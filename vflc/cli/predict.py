"""`vflc predict`: predictions by key, from raw columns to a file."""

from __future__ import annotations

from pathlib import Path

import click

from vflc.cli.options import RUN, data, engine, threads
from vflc.cli.outputs import check_output, force


@click.command("predict")
@click.argument("run", type=RUN)
@data
@engine
@threads
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="A .csv or .parquet file.")
@force
@click.option("--top", type=click.IntRange(1), help="Of a population: recommend so many items to each user.")
def command(
    run: Path,
    sources: dict[str, str],
    engine: str,
    threads: int | None,
    out: Path,
    force: bool,
    top: int | None,
) -> None:
    """Write predictions of the model in RUN.

    The file has the key and, for each prediction, a column or one for each of its numbers. Labels are not
    needed. Users of a population are rebuilt from the rows that have a label; the rows that have none are
    predicted.
    """
    from vflc_runtime.run.predict import predict
    from vflc_runtime.run.state import RunFolder

    from vflc.cli.population import of_population, predict_population, refuse
    from vflc.cli.progress import loaded
    from vflc.cli.tables import console

    check_output(out, force, sources.values())
    screen = console()
    if of_population(None, run, True):
        from vflc_runtime.run.population_run import PopulationRun

        rows = predict_population(run, sources, out, engine, threads, top, screen)
        click.echo(f"\nwrote {out}: {rows:,} rows, by {PopulationRun(run).which()}")
        return
    refuse({"top": top}, "is for a population")
    rows = predict(run, sources, out, engine, threads, listen=lambda event: loaded(screen, event))
    click.echo(f"\nwrote {out}: {rows:,} rows, by {RunFolder(run).which()}")
    if rows == 1:
        _warn(run)


def _warn(run: Path) -> None:
    """What crosses for a single row is that row's: said where anything crosses."""
    from vflc_runtime.run.state import RunFolder

    from vflc.cli import failures
    from vflc.diagnostics import Diagnostic

    edges = RunFolder(run).bundle().manifest.edges.values()
    crossing = [edge.id for edge in edges if "predict" in edge.programs]
    if crossing:
        message = f"one row was predicted, and {', '.join(crossing)} crossed for that row alone"
        help = "collect rows and predict them together"
        failures.show([Diagnostic("VFL0326", message, None, help, level="warning")])
