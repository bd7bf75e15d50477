"""Training a bundle on sources, all places in this process, into a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vflc_runtime.bundle.folder import add_files, open_any
from vflc_runtime.bundle.plugins import find_engine
from vflc_runtime.data.source import TableSource
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent
from vflc_runtime.interrupts import Interrupts
from vflc_runtime.run.loading import same_rows
from vflc_runtime.run.new_run import create, refuse_existing
from vflc_runtime.run.settings import TrainOptions, check_options, new_settings, resumed_settings
from vflc_runtime.run.state import Checkpoint, RunFolder
from vflc_runtime.run.transcript import Recorder
from vflc_runtime.run.work import Work, work_of

__all__ = ["TrainOptions", "TrainResult", "train"]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A run that is over: its folder, what `metrics.json` holds, and the lines of the history.

    `recorder` knows what was recorded, where something was to be.
    """

    folder: Path
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    recorder: Recorder | None = None


def train(
    bundle_dir: Path | str | None,
    sources: Mapping[str, TableSource],
    out: Path | str,
    options: TrainOptions | None = None,
    listen: Listener = silent,
) -> TrainResult:
    """Trains the bundle in `bundle_dir` on each party's source and saves the run in `out`.

    To resume, `bundle_dir` may be None: the run has a copy of its bundle.

    Raises:
        Failure: VFL0601 to VFL0638, such as VFL0614, VFL0627 and VFL0637, and VFL0691, as data, bundle,
            disk or options give cause.
        Interrupted: Ctrl-C was pressed; a checkpoint was written.
    """
    options, out = options or TrainOptions(), Path(out)
    check_options(options)
    find_engine(options.engine)
    if options.resume and options.start is not None:
        why = "a run that continues has weights already and cannot start from a file"
        raise Failure("VFL0627", why, "remove --from")
    if options.resume:
        if not (out / "run.json").exists():
            help = "start one without --resume, or name the folder of a run: --out RUN"
            raise Failure("VFL0614", f"there is no run in {out} to continue", help)
        run = RunFolder(out)
        with run.locked():
            return _resume(run, bundle_dir, sources, options, listen)
    if bundle_dir is None:
        raise Failure("VFL0637", "there is no bundle to train", "give a spec or a bundle, or --resume a run")
    refuse_existing(out, options.overwrite)
    work = work_of(open_any(bundle_dir, engine=options.engine), options)
    settings = new_settings(work.bundle, options)
    work.load(sources, settings, None, listen)
    settings |= work.marks(settings)
    with work.at_work(out, settings):
        work.begin(out, settings)
        run = create(out, work.bundle, settings, work.fitted, options.overwrite)
        with run.locked():
            return _run(run, work, settings, None, listen)


def _resume(
    run: RunFolder,
    bundle_dir: Path | str | None,
    sources: Mapping[str, TableSource],
    options: TrainOptions,
    listen: Listener,
) -> TrainResult:
    if bundle_dir is not None:
        add_files(run.path / "bundle", Path(bundle_dir), options.engine)
    if run.places is not None:
        raise Failure(
            "VFL0636", f"{run.path} is the part of {', '.join(run.places)}", "resume it with `vflc party`"
        )
    work = work_of(run.opened(options.engine), options)
    given = None if bundle_dir is None else open_any(bundle_dir, engine=options.engine).manifest.digest
    if given not in (None, work.bundle.manifest.digest):
        raise Failure(
            "VFL0625",
            f"{run.path} is a run of another spec",
            "resume it with the spec it was started with, or start again in another folder",
        )
    settings = resumed_settings(run, options, work.terms)
    work.load(sources, settings, run, listen)
    same_rows(run.path, settings, work.marks(settings), "resume it with the data it was started with")
    with work.at_work(run.path, settings):
        return _run(run, work, settings, run.go_on(listen), listen)


def _run(
    run: RunFolder, work: Work, settings: Mapping[str, Any], checkpoint: Checkpoint | None, listen: Listener
) -> TrainResult:
    with Interrupts() as interrupts:
        loop = work.loop(run, settings, listen, interrupts)
        if checkpoint is not None:
            loop.restore(checkpoint)
        return TrainResult(run.path, loop.run(), loop.progress.history, work.recorder)
