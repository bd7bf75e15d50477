"""`vflc train`: all parties in this process, from tables to trained models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from vflc_common.words import DEFAULT_BACKEND

from vflc.cli.options import (
    NEW_FOLDER,
    PRECISION,
    SPEC,
    data,
    engine,
    folds,
    json_output,
    overrides,
    print_json,
    reads,
    record,
    refit,
    run_length,
    runs,
    threads,
    validation,
    validation_data,
    watched,
    watchers,
)

if TYPE_CHECKING:
    from vflc_runtime.run.settings import TrainOptions
    from vflc_runtime.run.train import TrainResult
    from vflc_runtime.run.transcript import Recorder

    from vflc.cli.progress import Screen


@click.command("train")
@click.argument("target", metavar="SPEC|BUNDLE", type=SPEC, required=False)
@data
@click.option("--out", type=NEW_FOLDER, help="The run's folder; default: runs/MODEL.")
@engine
@run_length
@validation
@validation_data
@folds
@click.option(
    "--checkpoint-steps", type=click.IntRange(1), help="Also save a checkpoint every this many steps."
)
@record
@click.option("--rounds", type=click.IntRange(1), help="Population only: rounds in total.")
@click.option("--cohort", type=click.IntRange(1), help="Population only: users per round.")
@click.option("--on", metavar="ray[://HOST:PORT]", help="Population only: run users on Ray workers.")
@click.option(
    "--workers", type=click.IntRange(1), help="With --on ray: number of workers; default: one per processor."
)
@click.option(
    "--ledger",
    type=NEW_FOLDER,
    help="Folder of the ledger of ε; default: beside --out.",
)
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path),
    help="Weights to start from: a file, as `vflc import --weights` writes it, or a RUN, also of a spec "
    "that was changed since.",
)
@refit
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--overwrite", is_flag=True, help="Replace the run in --out.")
@threads
@watchers
@click.option("--precision", type=PRECISION, help="Precision to compile a spec to; default: float32.")
@overrides
@json_output
def command(
    target: Path | None,
    sources: dict[str, str],
    out: Path | None,
    precision: str | None,
    folds: int | None,
    overrides: dict[str, str],
    tensorboard: Path | None,
    mlflow: str | None,
    live_port: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train SPEC, or what it compiled to.

    Options that are not given are as the spec says. With --resume, SPEC may be left out.
    """
    from vflc_runtime.run.settings import only_those_of, terms_of
    from vflc_runtime.run.train import TrainOptions, train

    from vflc.cli.progress import Screen

    if target is None and not (options["resume"] and out and not folds):
        raise click.UsageError("name a SPEC or a BUNDLE, or --resume the run in --out")
    given = TrainOptions(**options)
    with bundle_of(target, precision, options["engine"], overrides) as folder, Screen(as_json) as screen:
        where = out or runs(folder)
        name = (runs(folder) if folder is not None else where).name

        def one(path: Path, own: TrainOptions) -> TrainResult:
            logs = tensorboard / path.name if folds and tensorboard is not None else tensorboard
            with ExitStack() as stack:
                listen = watched(stack, screen, path, name, logs, mlflow, live_port)
                return train(folder, sources, path, own, listen)

        if folds:
            if folder is not None:
                only_those_of(terms_of(folder), replace(given, folds=folds))
            _folds(folds, where, given, one, screen, as_json)
            return
        result = one(where, given)
    if as_json:
        print_json({"run": str(result.folder), **result.metrics})
        return
    told(result, screen)


def _folds(
    folds: int,
    out: Path,
    options: TrainOptions,
    one: Callable[[Path, TrainOptions], TrainResult],
    screen: Screen,
    as_json: bool,
) -> None:
    from vflc_runtime.run.folds import train_folds

    from vflc.cli.tables import of_folds, show

    def began(fold: int) -> None:
        screen.console.print(f"\nfold {fold} of {folds}", markup=False)

    found = train_folds(folds, out, options, one, began)
    if as_json:
        print_json({"run": str(out), **found})
        return
    show(screen.console, of_folds(found))
    click.echo(f"\nthe runs are in {out}")


def told(result: TrainResult, screen: Screen) -> None:
    """Says how a run went that is over."""
    from vflc.cli.tables import scores, sent, show

    manifest = json.loads((result.folder / "bundle" / "manifest.json").read_bytes())
    metrics = result.metrics
    show(screen.console, scores({name: metrics[name] for name in MEASURED if name in metrics}))
    show(screen.console, sent(manifest, metrics["bytes_sent"]))
    if result.recorder is not None:
        recorded(result.recorder)
    for line in ended(metrics):
        click.echo(line)
    click.echo(f"the run is in {result.folder}")


MEASURED = ("train", "validation", "test")
LOST = {"too_few_examples": "too few examples", "not_finite": "a change that is not finite"}
"""Why a client update counted for nothing."""


def ended(metrics: Mapping[str, Any]) -> Iterator[str]:
    """What metrics.json says of the end of a run, in words."""
    for name, why in LOST.items():
        if metrics.get(name):
            yield f"{metrics[name]:,} client updates were ignored: {why}"
    if privacy := metrics.get("privacy"):
        yield f"privacy of each user: epsilon {privacy['epsilon']:.3f} at delta {privacy['delta']:g}"
    if saved := metrics.get("saved"):
        yield f"\nthe results and the saved model are of epoch {saved['epoch']}, the {saved['why']}"
    rate = f", {metrics['rows_per_second']:,.0f} rows/s" if metrics["rows_per_second"] else ""
    if each := metrics.get("seconds_per_round"):
        rate = f", {1000 * each:.1f} ms each"
    unit = "rounds" if "rounds" in metrics else "steps"
    yield f"{metrics['ended']}: {metrics[unit]:,} {unit} in {metrics['seconds']:.1f} s{rate}"


def recorded(recorder: Recorder) -> None:
    """Says how much of a run was recorded."""
    size = f"{recorder.recorded:,} steps, {recorder.bytes / 1e6:,.1f} MB"
    why = ": a transcript cannot be larger" if recorder.full else ""
    click.echo(f"\nrecorded for `vflc audit`: {size}{why}")


@contextmanager
def bundle_of(
    target: Path | None, precision: str | None, engine: str, overrides: Mapping[str, str] | None = None
) -> Iterator[Any]:
    """The folder of a bundle: the target itself, or what a spec compiles to, as long as needed."""
    if target is None or target.is_dir():
        if precision:
            raise click.UsageError("--precision is for a SPEC; a bundle is already compiled")
        if overrides:
            raise click.UsageError("--set is for a SPEC; a bundle is already compiled")
        yield target
        return
    from vflc_runtime.scratch import scratch_folder

    from vflc import driver
    from vflc.cli import failures

    backends = tuple(dict.fromkeys((DEFAULT_BACKEND, *reads([engine]))))
    bundle = driver.compile_spec(
        target, precision=precision or "float32", backends=backends, overrides=overrides
    )
    if bundle.warnings:
        failures.mention(bundle.warnings, target)
    with scratch_folder() as folder:
        bundle.write(folder / "bundle")
        yield folder / "bundle"
