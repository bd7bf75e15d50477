"""`vflc report`: what came of runs, as one page of HTML, or served while a run goes on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from vflc.cli.options import RUN, data, engine, json_output, live, print_json, threads
from vflc.cli.outputs import check_output, force

FILE = click.Path(path_type=Path, dir_okay=False)
_data = partial(data, required=False, otherwise=" The first RUN is evaluated on these rows, too.")


@click.command("report")
@click.argument("runs", type=RUN, nargs=-1, required=True, metavar="RUN…")
@click.option("-o", "--out", type=FILE, help="The file of the page, as report.html.")
@_data
@click.option(
    "--evaluation",
    "evaluations",
    type=FILE,
    multiple=True,
    help="What `vflc evaluate --details` or `vflc party --do evaluate --details` wrote. May be repeated.",
)
@click.option(
    "--audit", "audits", type=FILE, multiple=True, help="What `vflc audit --json` wrote. May be repeated."
)
@live
@engine
@threads
@force
@json_output
def command(
    runs: tuple[Path, ...],
    out: Path | None,
    sources: dict[str, str],
    evaluations: tuple[Path, ...],
    audits: tuple[Path, ...],
    live_port: int | None,
    engine: str,
    threads: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Show what came of runs on one page.

    The page loads nothing and holds what the runs' folders hold: curves of losses and metrics, how
    predictions compare with labels, what crossed, who may learn what, and how everything was made.
    """
    if live_port is not None:
        if out is not None or sources or evaluations or audits or as_json:
            raise click.UsageError("--live serves the runs as they are; give it no other option")
        _serve(runs, live_port)
        return
    if out is None:
        raise click.UsageError("name the file: -o report.html")
    from vflc_runtime.files import replace_with

    from vflc.cli.progress import loaded
    from vflc.cli.tables import console
    from vflc.report.report import report

    check_output(out, force, [*runs, *sources.values(), *evaluations, *audits])
    screen = console(aside=as_json)
    listen = partial(loaded, screen)
    text = report(runs, evaluations, audits, sources, listen=listen, engine=engine, threads=threads)
    replace_with(out, text.encode())
    if as_json:
        print_json({"file": str(out), "runs": [str(run) for run in runs]})
    else:
        click.echo(f"the report is in {out}")


def _serve(runs: tuple[Path, ...], port: int) -> None:
    """Until Ctrl-C."""
    from threading import Event

    from vflc.report.live import LivePage
    from vflc.report.shown import shown

    for run in runs:
        shown(run)
    with LivePage(runs, port) as page:
        click.echo(f"the report is at {page.url} until Ctrl-C")
        Event().wait()
