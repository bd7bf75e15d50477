"""`vflc audit`: attacks a run as each of its parties could, with what it received."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from vflc_runtime.audit import EPOCHS, STEPS

from vflc.cli.options import SPEC, data, engine, threads, validation_data
from vflc.cli.outputs import check_output, force

if TYPE_CHECKING:
    from rich.console import Console
    from vflc_runtime.audit.report import Report

FEATURES, VERDICTS = 12, 6
"""Attacks on features, and verdicts, that a terminal shows."""


@click.command("audit", short_help="Attack what each party of a run received.")
@click.argument("target", metavar="RUN|SPEC", type=SPEC)
@data
@validation_data
@click.option("--steps", type=click.IntRange(1), help="Train this many steps for the audit.")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help=f"Train this many epochs.  [default: {EPOCHS}, at most {STEPS} steps]",
)
@click.option(
    "--batch", type=click.IntRange(1), help="Rows per step of that training; default: as in the spec."
)
@click.option(
    "--party", "parties", metavar="NAME", multiple=True, help="The adversary; default: every party in turn."
)
@click.option(
    "--known",
    type=click.IntRange(2),
    default=100,
    show_default=True,
    help="Labels that the attacker has to learn from.",
)
@click.option(
    "--with",
    "others",
    metavar="RUN",
    type=SPEC,
    multiple=True,
    help="Another recorded run on the same tables, to combine attacks over.",
)
@click.option(
    "--json",
    "as_json",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all scores to this file; - prints them.",
)
@click.option(
    "--html",
    "as_html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page to read in a browser.",
)
@click.option(
    "--at-most",
    "limit",
    type=click.Choice(["quiet", "hints", "leaks"]),
    help="Exit with code 1 if an attack reaches more.",
)
@click.option(
    "--bounds/--no-bounds",
    default=True,
    show_default=True,
    help="Test proven bounds in a short separate run.",
)
@force
@engine
@threads
def command(
    target: Path,
    sources: dict[str, str],
    validation_data: dict[str, str] | None,
    steps: int | None,
    epochs: int | None,
    batch: int | None,
    parties: tuple[str, ...],
    known: int,
    others: tuple[Path, ...],
    as_json: Path | None,
    as_html: Path | None,
    limit: str | None,
    bounds: bool,
    force: bool,
    engine: str,
    threads: int | None,
) -> None:
    """Attack RUN, or a short run of SPEC, as each of its parties could.

    Every party is taken to be curious: published attacks look for labels and features of others in what it
    received. A run that was trained with --record is attacked as it was; others are trained again.
    Bounds of the manifest are put to the test in a short run on the same values in new order, where a
    right guess can only come from messages.
    With --with, what attacks make of a row is added up over runs, too: noise of each run averages out.
    The data are what the attacks are judged by; no attack sees more of them than its party has.
    """
    # Matrices of attacks are small: a second thread of numpy's BLAS costs several times what it gains.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from vflc_runtime.audit.html import page
    from vflc_runtime.audit.run import AuditOptions, audit
    from vflc_runtime.files import replace_with

    from vflc.cli.progress import loaded
    from vflc.cli.tables import console

    _check_runs(target, others)
    quiet = str(as_json) == "-"
    screen = console()
    if quiet:
        screen.quiet = True
    for out in (None if quiet else as_json, as_html):
        check_output(out, force, [*sources.values(), *(validation_data or {}).values()])
    options = AuditOptions(
        parties, known, engine=engine, threads=threads, bounds=bounds, runs=others, apart=validation_data
    )
    training = {"steps": steps, "epochs": epochs, "batch": batch}
    with (
        _trained(target, sources, validation_data, training, engine, threads, screen) as (run, transcripts),
        screen.status("") as status,
    ):
        report = audit(
            run,
            sources,
            options,
            transcripts,
            lambda event: loaded(screen, event),
            lambda what: status.update(f"attacking: {what}"),
        )
    text = json.dumps(report.data(), indent=2, ensure_ascii=False)
    if quiet:
        click.echo(text)
    elif as_json is not None:
        replace_with(as_json, (text + "\n").encode())
    if as_html is not None:
        replace_with(as_html, page(report).encode())
    _show(report, screen)
    _judge(report, limit)


def _check_runs(target: Path, others: tuple[Path, ...]) -> None:
    """Whether runs can be attacked together: each once, and recorded; VFL0689 where not."""
    from vflc_runtime.errors import Failure
    from vflc_runtime.run.transcript import recorded

    whole = (target, *others) if others else ()
    for run in whole:
        if not ((run / "run.json").is_file() and recorded(run)):
            raise Failure(
                "VFL0689",
                f"{run} was not recorded; only recorded runs can be attacked together",
                "train it with --record, for example --record 3epochs",
            )
    if len({run.resolve() for run in whole}) < len(whole):
        raise Failure("VFL0689", "a run is named twice", "name each run once: a second time adds no evidence")


def _judge(report: Report, limit: str | None) -> None:
    """Ends where an attack reached more than is proven, or than was allowed.

    Raises:
        Failure: VFL0682, VFL0687.
    """
    from vflc_runtime.audit.report import LEVELS
    from vflc_runtime.errors import Failure

    from vflc.cli.failures import DEFECT

    refuted = [trial for trial in report.trials or () if trial.refuted]
    if refuted:
        raise Failure(
            "VFL0687",
            f"a bound does not hold: {refuted[0].sentence}",
            "do not train with this bundle, and report it: vflc promises that bounds hold",
            exit_code=DEFECT,
        )
    found = report.worst
    if limit is not None and LEVELS.index(found) < LEVELS.index(limit):
        help = "see the verdicts for what would help; --json has every score"
        raise Failure(
            "VFL0682", f"an attack reached `{found}`, but at most `{limit}` is allowed", help, exit_code=1
        )


@contextmanager
def _trained(
    target: Path,
    sources: dict[str, str],
    validation_data: dict[str, str] | None,
    training: dict[str, int | None],
    engine: str,
    threads: int | None,
    screen: Console,
) -> Iterator[tuple[Path, Path]]:
    """The run to audit, and where its transcripts lie: trained for it where there are none."""
    from vflc_runtime.audit.again import settings_of, trained_again
    from vflc_runtime.run.transcript import recorded

    from vflc.cli.train import bundle_of

    is_run = (target / "run.json").is_file()
    if is_run and recorded(target):
        if any(training.values()):
            raise click.UsageError(
                "--steps, --epochs and --batch are for bundles and runs that are not recorded yet"
            )
        yield target, target
        return
    settings: dict[str, Any] = {}
    if is_run:
        screen.print(f"{target} was not recorded: training its bundle again with the same settings")
        settings = settings_of(target)
    settings |= {name: value for name, value in training.items() if value}
    settings["validation_data"] = validation_data
    whole = target / "bundle" if is_run else target
    with bundle_of(whole, None, engine) as bundle, ExitStack() as held:
        with screen.status("training"):
            again = trained_again(bundle, sources, engine=engine, threads=threads, **settings)
            run = held.enter_context(again)
        yield (target if is_run else run), run


def _show(report: Report, screen: Console) -> None:
    """The attacks at their best, and the worst verdict on each secret."""
    from vflc_runtime.audit.report import LEVELS, MEANING, heads, worst

    from vflc.cli.tables import audited, columns, reached

    best = heads(report.scores)
    features = [score for score in best if score.measure == "error"]
    left_out = features[FEATURES:]
    told = audited([score for score in best if score not in left_out], columns())
    screen.print(f"\n{told}", markup=False, soft_wrap=True)
    if left_out:
        screen.print(f"and {len(left_out):,} attacks on features that find less; see --json and --html")
    screen.print(f"\n{reached(report, columns())}", markup=False, soft_wrap=True)
    screen.print(f"\n{report.worst}: {MEANING[report.worst]}")
    bad = [score for score in worst(report.scores) if LEVELS.index(score.level) < LEVELS.index("hints")]
    for score in bad[:VERDICTS]:
        _told(screen, f"{score.verdict}; what helps: {score.advice}")
    if bad[VERDICTS:]:
        screen.print(f"  and {len(bad) - VERDICTS:,} more")
    for name, why in list(report.passed.items())[:VERDICTS]:
        _told(screen, f"not attacked: {name}, {why}")
    if len(report.passed) > VERDICTS:
        _told(screen, f"not attacked: {len(report.passed) - VERDICTS:,} more edges; see --json")


def _told(screen: Console, text: str) -> None:
    from vflc.cli.columns import broken
    from vflc.cli.tables import columns

    screen.print("\n".join(broken(text, columns(), "  ")), markup=False, soft_wrap=True)
