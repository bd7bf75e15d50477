"""`vflc evaluate`: a trained model on other rows."""

from __future__ import annotations

from pathlib import Path

import click

from vflc.cli.options import RUN, data, engine, json_output, print_json, threads


@click.command("evaluate")
@click.argument("run", type=RUN)
@data
@engine
@threads
@json_output
def command(run: Path, sources: dict[str, str], engine: str, threads: int | None, as_json: bool) -> None:
    """Measure the model in RUN on other rows."""
    from vflc_runtime.run.opened import open_run

    from vflc.cli.options import only

    opened = open_run(run)
    only({"threads": threads}, opened.takes)
    from vflc.cli.progress import loaded
    from vflc.cli.tables import console, inner_tables, scores, show

    screen = console(aside=as_json)
    found = opened.evaluate(sources, engine, threads=threads, listen=lambda event: loaded(screen, event))
    if as_json:
        print_json(found)
        return
    every = scores({f"{found['rows']:,} rows": found["evaluation"]})
    for table in (every, *inner_tables(found["evaluation"])):
        show(screen, table)
    click.echo(f"\nof {found['model']}")
