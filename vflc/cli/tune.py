"""`vflc tune`: tries settings of a spec and prints the best."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vflc.cli.options import (
    NEW_FOLDER,
    SPEC,
    data,
    engine,
    json_output,
    overrides,
    print_json,
    run_length,
    threads,
    validation,
    validation_data,
)

if TYPE_CHECKING:
    from vflc.api.trials import TrialResult
    from vflc.api.tune import Tuning


@click.command("tune")
@click.argument("spec", type=SPEC)
@click.option(
    "--search",
    "searched",
    metavar="NAME=VALUES",
    multiple=True,
    required=True,
    help="What to try, as for --set: lr=log(1e-4,1e-2), uniform(0,1), int(1,4), or k=8,16. May be repeated.",
)
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True, help="How many, in total.")
@data
@click.option("--out", type=NEW_FOLDER, help="The folder; default: runs/SPEC-tune.")
@engine
@run_length
@validation
@validation_data
@click.option("--resume", is_flag=True, help="Continue the search in --out.")
@threads
@overrides
@json_output
def command(
    spec: Path,
    searched: tuple[str, ...],
    trials: int,
    sources: dict[str, str],
    out: Path | None,
    resume: bool,
    overrides: dict[str, str],
    as_json: bool,
    **options: Any,
) -> None:
    """Train SPEC with other settings, and print which are best.

    The metric is the one that the spec monitors, on validation rows. Optuna chooses what to try, from what
    other trials reached, and from --seed. Options of training are those of each run.
    """
    from vflc_runtime.run.settings import TrainOptions

    from vflc.api.search import Search
    from vflc.api.tune import Tuning

    search = {}
    for text in searched:
        name, equals, values = (part.strip() for part in text.partition("="))
        if not (name and equals and values):
            raise click.BadParameter(f"{text!r} is not NAME=VALUES, as in lr=log(1e-4,1e-2)")
        if name in search:
            raise click.BadParameter(f"`{name}` is searched twice; give all its values in one --search")
        search[name] = Search.of(name, values)
    where = out or Path("runs") / f"{spec.stem}-tune"
    tuning = Tuning(spec, tuple(search.values()), where, TrainOptions(**options), overrides)
    try:
        tuning.run(trials, sources, resume, told=lambda result: click.echo(_line(result), err=True))
    except KeyboardInterrupt:
        click.echo(f"{len(tuning.trials)} trials are kept in {where}: --resume continues", err=True)
        raise
    if tuning.exhausted:
        click.echo(f"no setting is left to try after {len(tuning.trials)} trials", err=True)
    if as_json:
        print_json(_found(tuning))
        return
    for line in _shown(tuning):
        click.echo(line)


def _line(result: TrialResult) -> str:
    from vflc.cli.tables import number

    settings = "  ".join(f"{name} {value}" for name, value in result.settings.items())
    reached = "diverged" if result.metric is None else f"{result.metric} {number(result.value)}"
    return f"trial {result.number}  {settings}  {reached}"


def _found(tuning: Tuning) -> dict[str, Any]:
    """What `--json` prints."""
    from msgspec import to_builtins

    best = tuning.best
    return {
        "out": str(tuning.out),
        "best": None if best is None else to_builtins(best),
        "run": None if best is None else str(tuning.out / "best"),
        "trials": to_builtins(tuning.trials),
    }


def _shown(tuning: Tuning) -> Iterator[str]:
    """A table of all trials, the best first, and its settings as options."""
    import shlex

    from vflc.api.trials import goodness
    from vflc.cli.columns import aligned
    from vflc.cli.tables import columns, number

    names = [each.name for each in tuning.search]
    defined = [each for each in tuning.trials if each.value is not None]
    rest = [each for each in tuning.trials if each.value is None]
    metric = next((str(each.metric) for each in defined), "metric")
    rows = [
        (str(each.number), *(each.settings[n] for n in names), number(each.value), str(each.epoch or "-"))
        for each in [*sorted(defined, key=goodness, reverse=True), *rest]
    ]
    yield ""
    yield from aligned([("trial", *names, metric, tuning.stretch), *rows], columns(), range(len(names) + 3))
    best = tuning.best
    if best is None:
        yield "\nno trial reached a value: each diverged"
        return
    options = " ".join(f"--set {shlex.quote(f'{name}={value}')}" for name, value in best.settings.items())
    yield f"\nbest: {options}"
    yield f"its run is in {tuning.out / 'best'}"
