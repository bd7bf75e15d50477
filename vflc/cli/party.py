"""`vflc party`: one party in its own process, in a run between machines."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from vflc_common.words import PROGRAMS

from vflc.cli.options import (
    NEW_FOLDER,
    details,
    engine,
    folds,
    json_output,
    print_json,
    refit,
    refuse,
    run_length,
    threads,
    validation,
    watched,
    watchers,
)
from vflc.cli.outputs import check_output, force

if TYPE_CHECKING:
    from vflc_runtime.party.deploy import Deploy
    from vflc_runtime.party.site import Site
    from vflc_runtime.run.train import TrainResult

    from vflc.cli.progress import Screen


@click.command("party", short_help="Run one party in its own process.")
@click.argument("name")
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="BUNDLE|RUN")
@click.option(
    "--deploy",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="deploy.toml: the addresses of the parties.",
)
@click.option(
    "--do",
    "what",
    type=click.Choice((*PROGRAMS, "importance")),
    default="train",
    show_default=True,
    help="With a RUN: evaluate or predict with its model, or measure the importance of features.",
)
@click.option(
    "--repeats", type=click.IntRange(1), help="With --do importance: how often each feature is exchanged."
)
@click.option("--out", type=NEW_FOLDER, help="The run's folder; default: runs/NAME.")
@click.option("--data", "source", help="This party's table, if deploy.toml does not name it.")
@click.option(
    "--validation-data", help="This party's table of rows to validate with, if deploy.toml does not name it."
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --do predict, if this party predicts: a .csv or .parquet file.",
)
@details
@force
@engine
@run_length
@validation
@folds
@click.option(
    "--checkpoint-steps", type=click.IntRange(1), help="Also save a checkpoint every this many steps."
)
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path),
    help="Start from the weights in this file, or from those of this party's RUN; all parties alike.",
)
@refit
@click.option("--resume", is_flag=True, help="Continue the run in --out, or start it if there is none.")
@click.option("--overwrite", is_flag=True, help="Replace the run in --out.")
@threads
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    help="Seconds to wait for a peer; default: as in deploy.toml, or 60.",
)
@click.option("--insecure", is_flag=True, help="Do not encrypt; only if all addresses are loopback.")
@click.option(
    "--log", type=click.Path(path_type=Path, dir_okay=False), help="Append JSON lines to this file."
)
@watchers
@json_output
def command(
    name: str,
    bundle: Path,
    what: str,
    out: Path | None,
    predictions: Path | None,
    force: bool,
    folds: int | None,
    repeats: int | None,
    as_json: bool,
    log: Path | None,
    tensorboard: Path | None,
    mlflow: str | None,
    live_port: int | None,
    details: Path | None,
    **options: Any,
) -> None:
    """Run the party NAME of BUNDLE with the others, each in its own process.

    All parties give the same training options. With --do evaluate or predict, RUN is this party's
    folder of a finished run.
    """
    from vflc_runtime.party.log import Log
    from vflc_runtime.run.watchers import told

    from vflc.cli.progress import Screen

    if options["resume"] and options["overwrite"]:
        raise click.UsageError("--resume continues a run, --overwrite replaces it: give only one of them")
    if predictions is not None and what != "predict":
        raise click.UsageError("--predictions is for --do predict")
    if details is not None and what != "evaluate":
        raise click.UsageError("--details is for --do evaluate")
    if live_port is not None and what != "train":
        raise click.UsageError("--live is for training; `vflc report` shows a run that has ended")
    if repeats is not None and what != "importance":
        raise click.UsageError("--repeats is for --do importance")
    if folds:
        watching = {"tensorboard": tensorboard, "mlflow": mlflow, "live": live_port}
        refuse(watching, "is for one run, and --folds are several")
    with ExitStack() as stack:
        screen = stack.enter_context(Screen(as_json))
        out = bundle if what != "train" else out or Path("runs") / name
        listen = watched(stack, screen, out, name, tensorboard, mlflow, live_port)
        if log is not None:
            listen = told(listen, stack.enter_context(Log(log)))
        site = _site(name, bundle, out, what, listen, options)
        check_output(predictions, force, [site.source])
        check_output(details, force, [site.source])
        if what == "train":
            found = _train(bundle, site, out, options, folds, screen, as_json)
        elif what == "importance":
            found = _importance(bundle, site, repeats, options["seed"], as_json)
        else:
            found = _apply(bundle, site, what, predictions, details, screen, as_json)
    if as_json:
        print_json(found)


def _site(name: str, bundle: Path, out: Path, what: str, listen: Any, options: dict[str, Any]) -> Site:
    """What the party brings along, from deploy.toml and the options, which it takes its own from."""
    from dataclasses import replace

    from vflc_runtime.bundle.manifest import read_manifest
    from vflc_runtime.errors import Failure
    from vflc_runtime.party.connect import connector
    from vflc_runtime.party.deploy import read_deploy
    from vflc_runtime.party.site import Site

    folder = bundle / "bundle" if (bundle / "run.json").exists() else bundle
    places = read_manifest(folder / "manifest.json").places
    if name not in places:
        raise Failure("VFL0618", f"there is no party {name!r} in {folder}", f"it has {', '.join(places)}")
    for option, given in (("--data", options["source"]), ("--validation-data", options["validation_data"])):
        party, equals, source = (given or "").partition("=")
        if equals and party in places and not Path(given).exists():
            raise click.UsageError(f"{option} is this party's table, without a name: {option} {source}")
    deploy: Deploy = read_deploy(options.pop("deploy"), name, places)
    timeout, source, insecure = (options.pop(each) for each in ("timeout", "source", "insecure"))
    deploy = replace(deploy, timeout=timeout or deploy.timeout)
    return Site(
        place=name,
        source=source or deploy.data,
        connect=connector(deploy, insecure),
        method=deploy.method,
        align=deploy.align_settings(out.with_name(f".{out.name}.align")),
        engine=_engine(options.pop("engine"), deploy.device),
        threads=options.pop("threads"),
        listen=listen,
        ledger=deploy.ledger,
        apart=options.pop("validation_data") or (deploy.validation_data if what == "train" else None),
    )


def _engine(engine: str, device: str) -> str:
    """The engine on the device of deploy.toml, where it runs there."""
    from vflc_common.engines import on_device

    return on_device(engine, device) or engine


def _train(
    bundle: Path,
    site: Site,
    out: Path,
    options: dict[str, Any],
    folds: int | None,
    screen: Screen,
    quiet: bool,
) -> dict[str, Any]:
    """Trains; what `--json` prints. All else is printed unless it is to be `quiet`."""
    from vflc_runtime.party.train import train_party
    from vflc_runtime.run.folds import train_folds
    from vflc_runtime.run.train import TrainOptions

    from vflc.cli.tables import of_folds, show

    if (bundle / "run.json").exists():
        raise click.UsageError(
            "name the BUNDLE to train; to continue a run, name it with --out and add --resume"
        )
    given = TrainOptions(**options)
    if folds is None:
        result = train_party(bundle, site, out, given)
        if not quiet:
            _told(result, site, screen)
        return {"run": str(result.folder), **result.metrics}
    found = train_folds(
        folds,
        out,
        given,
        lambda path, own: train_party(bundle, site, path, own),
        lambda fold: screen.console.print(f"\nfold {fold} of {folds}", markup=False),
    )
    if not quiet:
        if found["mean"]:
            show(screen.console, of_folds(found))
        click.echo(f"\nthe runs of {site.place} are in {out}")
    return {"run": str(out), **found}


def _told(result: TrainResult, site: Site, screen: Screen) -> None:
    """Says how training went."""
    from vflc.cli.tables import scores, sent, show, waited

    metrics = result.metrics
    found = {"train": metrics["train"], "validation": metrics["validation"]}
    if any(found.values()):
        show(screen.console, scores(found))
    manifest = json.loads((result.folder / "bundle" / "manifest.json").read_bytes())
    show(screen.console, sent(manifest, metrics["bytes_sent"]))
    show(screen.console, waited(metrics["peers"]))
    rate = f", {metrics['rows_per_second']:,.0f} rows/s" if metrics["rows_per_second"] else ""
    click.echo(
        f"\nthe results and the saved model are of epoch {metrics['saved']['epoch']}, "
        f"the {metrics['saved']['why']}"
    )
    click.echo(f"{metrics['ended']}: {metrics['steps']:,} steps in {metrics['seconds']:.1f} s{rate}")
    click.echo(f"the run of {site.place} is in {result.folder}")


def _importance(run: Path, site: Site, repeats: int | None, seed: int | None, quiet: bool) -> dict[str, Any]:
    from vflc_runtime.party.apply import importance_party
    from vflc_runtime.run.importance import REPEATS

    from vflc.cli.importance import shown

    _is_run(run, "importance")
    found = importance_party(run, site, repeats or REPEATS, seed)
    if not quiet and found["results"]:
        for line in shown(found, None):
            click.echo(line)
    elif not quiet:
        click.echo(f"\nexchanged on {found['rows']:,} rows; the party with the labels has the results")
    return found


def _is_run(run: Path, what: str) -> None:
    if not (run / "run.json").exists():
        raise click.UsageError(f"--do {what} needs a RUN: the folder given to --out in training")


def _apply(
    run: Path,
    site: Site,
    what: str,
    predictions: Path | None,
    details: Path | None,
    screen: Screen,
    quiet: bool,
) -> dict[str, Any]:
    """Evaluates or predicts; what `--json` prints."""
    from vflc_runtime.party.apply import evaluate_party, predict_party

    from vflc.cli.evaluate import keep_details
    from vflc.cli.tables import inner_tables, scores, show

    _is_run(run, what)
    if what == "evaluate":
        found = keep_details(details, run, evaluate_party(run, site, details is not None))
        if quiet:
            return found
        if found["evaluation"]:
            every = scores({f"{found['rows']:,} rows": found["evaluation"]})
            for table in (every, *inner_tables(found["evaluation"])):
                show(screen.console, table)
        peers = ", ".join(found["peers"])
        click.echo(f"\nevaluated {found['rows']:,} rows with {peers}, by {found['model']}")
        return found
    found = predict_party(run, site, predictions)
    if quiet:
        return {**found, "file": None if predictions is None else str(predictions)}
    what = (
        f"wrote {predictions}: {found['rows']:,} rows"
        if predictions
        else (f"{found['rows']:,} rows predicted elsewhere")
    )
    click.echo(f"\n{what}, by {found['model']}")
    return found
