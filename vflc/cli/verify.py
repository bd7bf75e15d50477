"""`vflc verify`: split against unsplit, ONNX against Keras, in float64 and in float32."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from vflc_common.words import DEFAULT_ENGINE, DEVICES, PRECISIONS

from vflc.cli.options import SPEC, data, json_output, placed, threads
from vflc.cli.verify_parties import DENSE, ROWS

if TYPE_CHECKING:
    from vflc_runtime.verify import Comparison, Verification


def _engines(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    from vflc_common.engines import ENGINES

    chosen = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
    for name in chosen:
        if name not in ENGINES:
            known = ", ".join(ENGINES.names())
            raise click.BadParameter(f"there is no engine {name!r}; engines: {known}")
    return chosen


@click.command("verify", short_help="Train SPEC in several ways and compare.")
@click.argument("spec", type=SPEC)
@lambda command: data(command, required=False, otherwise=" Without it, rows that fit the spec are generated.")
@click.option(
    "--steps", type=click.IntRange(1), help="Steps of each way.  [default: 100; 10 rounds of a population]"
)
@click.option("--rows", type=click.IntRange(2), help=f"Number of rows to generate.  [default: {ROWS}]")
@click.option(
    "--batch",
    type=click.IntRange(1),
    help="Rows per step.  [default: the spec's, at most a sixteenth of the rows]",
)
@click.option(
    "--seed", type=click.IntRange(0), help="Seed of rows, weights, order and dropout; default: the spec's."
)
@click.option(
    "--engines",
    callback=_engines,
    metavar="NAMES",
    help="Engines, separated by commas, as in onnx,keras.  [default: all of vflc's that are installed]",
)
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default=DEVICES[0],
    help="With cuda, train on the GPU by onnxruntime, too, and compare.",
)
@click.option("--precision", type=click.Choice(PRECISIONS), help="Only this one; default: both.")
@threads
@json_output
@click.pass_context
def command(context: click.Context, /, spec: Path, as_json: bool, **options: Any) -> None:
    """Train SPEC split and unsplit, by ONNX and by Keras, by our optimizers and Keras's, and compare.

    Every way starts from the same weights and sees the same rows. No weight, message, prediction or
    loss may differ by more than 1e-9 in float64, or by 1e-4 of its norm in float32; exit code 1 where
    one does. In float32 a weight that nothing but rounding moves is held, and its gradient compared.
    Users of a population train together and one at a time instead.
    """
    if options["rows"] and options["sources"]:
        raise click.UsageError("--rows is for generated rows; --data brings its own")
    from vflc_common.engines import installed, usual

    missing = options["engines"] is None and [each for each in usual() if not each.installed]
    options["engines"] = options["engines"] or installed()
    device = options.pop("device")
    if device != DEVICES[0]:
        options["engines"] = tuple(dict.fromkeys((*options["engines"], placed(DEFAULT_ENGINE, device))))
    found = run(spec, options, quiet=as_json)
    if as_json:
        click.echo(json.dumps(_finite(found), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _show(found)
    for each in missing or ():
        note = f"{each.library} is not installed: {each.name} was left out"
        click.echo(f"{note}; `pip install 'vflc[{each.extra}]'` adds it", err=True)
    context.exit(0 if found["within"] else 1)


def run(spec: Path, options: Mapping[str, Any], quiet: bool) -> dict[str, Any]:
    """Compiles and trains every way in both precisions; what `--json` prints."""
    from vflc_runtime.scratch import scratch_folder

    from vflc import driver
    from vflc.cli import failures, verify_parties, verify_population

    found: dict[str, Any] = {"model": spec.stem, "engines": list(options["engines"]), "precisions": {}}
    of_kind = {"parties": verify_parties.verified, "population": verify_population.verified}
    verify = of_kind[driver.kind_of(spec)]
    with _Progress(quiet) as progress:
        for precision in [options["precision"]] if options["precision"] else PRECISIONS[::-1]:
            with scratch_folder() as folder:
                start = partial(progress.start, precision)
                made, numbers, warnings = verify(spec, precision, options, start, progress.step, folder)
            if warnings and not found["precisions"]:
                failures.mention(warnings, spec)
            found |= {**numbers, "precisions": {**found["precisions"], precision: _entry(made, precision)}}
    found["within"] = all(entry["within"] for entry in found["precisions"].values())
    return found


def _entry(made: Verification, precision: str) -> dict[str, Any]:
    """What `--json` says of a precision."""
    from vflc_runtime.verify import LIMITS

    return {
        "limit": LIMITS[precision],
        "within": all(each.within for each in made.comparisons)
        and all(share <= LIMITS[precision] for share in made.idle.values()),
        "exchanged_rows": made.exchanged,
        "idle_weights": dict(made.idle),
        "ways": {t.way: {"seconds": t.seconds, "losses": list(t.losses)} for t in made.trained},
        "pairs": [_pair(comparison) for comparison in made.comparisons],
    }


def _pair(comparison: Comparison) -> dict[str, Any]:
    worst = {kind: each and asdict(each) for kind, each in comparison.worst.items()}
    return {"ways": list(comparison.ways), "limit": comparison.limit, "worst": worst}


def _finite(value: Any) -> Any:
    """The same with null for what is infinite, which JSON has no word for."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and math.isinf(value) else value


# --- for people -----------------------------------------------------------------------------------


class _Progress:
    """A bar on a terminal; a line for each way elsewhere; nothing where quiet."""

    def __init__(self, quiet: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from vflc.cli.tables import console

        self._lines = not quiet and not sys.stdout.isatty()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console(),
            transient=True,
            disable=quiet or self._lines,
        )
        self._task = self._bar.add_task("", visible=False)
        self._precision, self._steps = "", 0

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def start(self, precision: str, ways: int, steps: int) -> None:
        self._precision, self._steps = precision, steps
        self._bar.reset(self._task, total=ways * steps, visible=True, description=f"{precision}: compiling")

    def step(self, way: str, done: int) -> None:
        self._bar.update(self._task, advance=1, description=f"{self._precision} {way}")
        if self._lines and done == self._steps:
            click.echo(f"{self._precision} {way}: {done:,} steps")


def _show(found: Mapping[str, Any]) -> None:
    """Of each precision a table of all pairs of ways, and where the worst differences are."""
    from vflc_runtime.bundle.plugins import find_engine

    from vflc.cli.tables import console, differences, show, worst_differences

    screen = console()
    for precision, entry in found["precisions"].items():
        show(screen, differences(precision, entry))
        show(screen, worst_differences(entry))
        if other := {pair["limit"] for pair in entry["pairs"]} - {entry["limit"]}:
            click.echo(
                f"against {DENSE}: at most {max(other):.0e}, for weights of the farthest that any\n"
                "  moved, as rows of tables catch up with Adam by an approximation"
            )
        if entry["exchanged_rows"]:
            click.echo(f"{entry['exchanged_rows']:,} rows too close to a non-smooth point were replaced")
        if entry["idle_weights"]:
            click.echo(_moved_by_rounding(entry["idle_weights"], entry["limit"]))
    if (unlike := found.get("dense_off")) and any(find_engine(each).dense for each in found["engines"]):
        click.echo(f"{DENSE}, by Keras's own optimizers, was left out:\n  {unlike}")
    if off := found.get("protections_off"):
        click.echo(f"compared without protections ({', '.join(off)}), whose noise is never the same twice")
    steps = f"steps of {found['batch']:,} rows"
    if "cohort" in found:
        steps = f"rounds of {found['cohort']:,} users"
    what = f"{found['steps']:,} {steps}, {found['rows']:,} rows in all"
    verdict = "all ways agree" if found["within"] else "the ways disagree"
    click.echo(f"\n{verdict}: {what}, seed {found['seed']}")


def _why_idle(idle: Iterable[str]) -> Iterator[str]:
    """Why the objective does not depend on biases, as far as their names tell."""
    biases = [name for name in idle if name.endswith(".bias")]
    keys = [name for name in biases if name.endswith(".key.bias")]
    if keys:
        yield "the bias of an attention's keys changes no share: it cancels in the softmax"
    if len(biases) > len(keys):
        yield "a `dense` before `batch_norm` needs no bias: `bias = false`"


def _moved_by_rounding(idle: Mapping[str, float], limit: float) -> str:
    """What became of weights that the objective does not depend on."""
    from vflc.emit.manifest.diagram import some

    lines = [
        "only rounding errors move these weights, so they were kept at their initial values:",
        some(list(idle)),
        f"gradients 0 in float64, here at most {max(idle.values()):.1e} of the largest, limit {limit:.0e}",
        *(f"beyond the limit: {name}" for name, share in idle.items() if share > limit),
        *_why_idle(idle),
    ]
    return "\n  ".join(lines)
