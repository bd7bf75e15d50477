"""`vflc importance`: how much a trained model leans on each feature and each party."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from vflc.cli.options import RUN, data, engine, json_output, print_json, threads


@click.command("importance")
@click.argument("run", type=RUN)
@data
@engine
@threads
@click.option(
    "--repeats", type=click.IntRange(1), default=5, show_default=True, help="How often each is exchanged."
)
@click.option("--seed", type=click.IntRange(0), help="Seed of the exchanges; default: the run's.")
@click.option("--metric", help="The result to sort by; default: the one that the spec monitors.")
@json_output
def command(
    run: Path,
    sources: dict[str, str],
    engine: str,
    threads: int | None,
    repeats: int,
    seed: int | None,
    metric: str | None,
    as_json: bool,
) -> None:
    """Measure how much worse the model in RUN is without each feature and each party.

    The values of a feature, or of all features of a party, are exchanged among the rows. Of the tables that
    RUN was trained on, the rows count that it kept for validation; of others, all rows.
    """
    from vflc_runtime.run.importance import importance

    from vflc.cli.progress import loaded
    from vflc.cli.tables import console

    screen = console(aside=as_json)
    try:
        found = importance(
            run, sources, repeats, seed, engine, threads, lambda event: loaded(screen, event), metric
        )
    except KeyError as error:
        raise click.UsageError(error.args[0]) from None
    if as_json:
        print_json(found)
        return
    for line in shown(found, metric):
        click.echo(line)


def shown(found: Mapping[str, Any], metric: str | None) -> Iterator[str]:
    """A table of features and one of parties, the most important first."""
    from vflc_runtime.run.importance import ranked

    from vflc.cli.columns import aligned
    from vflc.cli.tables import columns, number, numbers

    metric = metric or found["metric"]
    what = "validation rows" if found.get("validation") else "rows"
    whole = f"{metric} {number(found['results'][metric])} on {found['rows']:,} {what}"
    yield f"\n{whole}; how much worse it is without"
    _, rows = ranked(found, metric)
    for title, kind in (("feature", False), ("party", True)):
        own = [row for row in rows if (row[1] is None) == kind]
        names = [party if feature is None else f"{party}.{feature}" for party, feature, *_ in own]
        measured = numbers([value for *_, mean, spread in own for value in (mean, spread)])
        cells = [(n, m, f"± {s}") for n, m, s in zip(names, measured[::2], measured[1::2], strict=True)]
        yield ""
        yield from aligned([(title, "worse by", f"in {found['repeats']} repeats"), *cells], columns(), (1, 2))
    yield f"\nof {found['model']}" if "model" in found else ""
