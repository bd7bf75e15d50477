"""What `train` does with populations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vflc.cli.options import only, refuse, runs
from vflc.cli.progress import Screen
from vflc.cli.tables import scores, sent, show


def of_population(folder: Path | None, run: Path | None, resumed: bool) -> bool:
    """Whether a bundle, or a run where there is none or it is resumed, is of a population."""
    from vflc_runtime.bundle.folder import is_population

    bundle = run / "bundle" if run is not None and (folder is None or resumed) else folder
    return bundle is not None and (bundle / "manifest.json").is_file() and is_population(bundle)


def train_population(
    folder: Path | None, sources: dict[str, str], out: Path | None, options: dict[str, Any], screen: Screen
) -> None:
    """Trains round by round and shows what came of it."""
    from vflc_runtime.bundle.reading import Json
    from vflc_runtime.run.population_train import RoundOptions, train

    only({"threads": options.pop("threads")}, ())
    why = "is not for a population: it has --rounds, --cohort and --batch"
    others = ("epochs", "steps", "validation", "checkpoint_steps", "record", "ledger")
    refuse({name: options.pop(name) for name in others}, why)
    on = options["on"]
    if on is not None and on != "ray" and not on.startswith("ray://"):
        raise click.UsageError(f"--on {on} is neither ray nor ray://HOST:PORT")
    if on is None:
        refuse({"workers": options["workers"]}, "is for --on ray")
    where = out or runs(folder or Path())
    result = train(folder, sources, where, RoundOptions(**options), screen)
    metrics = result.metrics
    show(screen.console, scores({name: metrics[name] for name in ("train", "validation", "test")}))
    manifest = Json.read(result.folder / "bundle" / "manifest.json").value
    show(screen.console, sent(manifest, metrics["bytes_sent"]))
    for name, text in (
        ("too_few_examples", "too few examples"),
        ("not_finite", "a change that is not finite"),
    ):
        if metrics[name]:
            click.echo(f"{metrics[name]:,} visits counted for nothing: {text}")
    if metrics["privacy"]:
        spent = metrics["privacy"]
        click.echo(f"privacy of each user: epsilon {spent['epsilon']:.3f} at delta {spent['delta']:g}")
    each = 1000 * metrics["seconds_per_round"]
    click.echo(f"\n{metrics['ended']}: {metrics['rounds']:,} rounds, {each:.1f} ms each")
    click.echo(f"the run is in {result.folder}")
