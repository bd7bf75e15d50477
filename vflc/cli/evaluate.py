"""`vflc evaluate`: a trained model on other rows."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from vflc.cli.options import RUN, data, details, engine, json_output, print_json, threads
from vflc.cli.outputs import check_output, force


@click.command("evaluate")
@click.argument("run", type=RUN)
@data
@engine
@threads
@details
@force
@json_output
def command(
    run: Path,
    sources: dict[str, str],
    engine: str,
    threads: int | None,
    details: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Measure the model in RUN on other rows."""
    from vflc_runtime.run.opened import open_run

    from vflc.cli.options import only

    opened = open_run(run)
    only({"threads": threads}, opened.takes)
    from vflc.cli.progress import loaded
    from vflc.cli.tables import console, inner_tables, scores, show

    check_output(details, force, sources.values())
    screen = console(aside=as_json)
    listen = partial(loaded, screen)
    found = opened.evaluate(sources, engine, threads=threads, listen=listen, details=details is not None)
    found = keep_details(details, run, found)
    if as_json:
        print_json(found)
        return
    every = scores({f"{found['rows']:,} rows": found["evaluation"]})
    for table in (every, *inner_tables(found["evaluation"])):
        show(screen, table)
    click.echo(f"\nof {found['model']}")


def keep_details(file: Path | None, run: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Writes what an evaluation found to a file for `vflc report`; what is printed of it has no details."""
    if file is None:
        return found
    from vflc_runtime.files import replace_with
    from vflc_runtime.run.state import RunFolder

    from vflc.report.shown import as_json

    replace_with(file, as_json(found, str(RunFolder(run).settings["digest"])))
    return {name: each for name, each in found.items() if name not in ("curves", "drift")}
