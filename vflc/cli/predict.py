"""`vflc predict`: predictions by key, from raw columns to a file."""

from __future__ import annotations

from pathlib import Path

import click

from vflc.cli.options import RUN, data, engine, threads


@click.command("predict")
@click.argument("run", type=RUN)
@data
@engine
@threads
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="A .csv or .parquet file.")
def command(run: Path, sources: dict[str, str], engine: str, threads: int | None, out: Path) -> None:
    """Write predictions of the model in RUN.

    The file has the key and a column for each prediction. Labels are not needed.
    """
    from vflc_runtime.predict import predict

    from vflc.cli.progress import loaded
    from vflc.cli.tables import console

    screen = console()
    rows = predict(run, sources, out, engine, threads, listen=lambda event: loaded(screen, event))
    click.echo(f"\nwrote {out}: {rows:,} rows")
