"""Training a bundle on sources, all places in this process, into a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vflc_runtime.bundle.folder import Bundle, add_keras, open_bundle
from vflc_runtime.data.batches import Order
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.source import Source
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent
from vflc_runtime.interrupts import Interrupts
from vflc_runtime.protect import spending
from vflc_runtime.run import loading
from vflc_runtime.run.loop import Loop, facts
from vflc_runtime.run.session import Session
from vflc_runtime.run.settings import check_options, new_settings, resumed_settings
from vflc_runtime.run.state import RunFolder, refuse_existing
from vflc_runtime.run.transcript import Recorder, Stretch


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How to train; what is None comes from the spec, or from the run that is resumed.

    Args:
        epochs: epochs in all, those before a resumption included.
        batch: rows a step.
        seed: of weights, of the order of rows and of random values.
        steps: end after so many steps in all.
        validation: fraction of the rows that is kept for validation.
        engine: `onnx` or `keras`; a run may change it.
        resume: go on with the run that is in the folder.
        overwrite: a run that is in the folder gives way.
        checkpoint_steps: save every so many steps, besides the end of every epoch.
        threads: threads an operator may use; a core each where None.
        record: keep a transcript of so much of the run, for an audit.
        ledger: the folder of the ledgers; `ledger` beside the run's where None.
    """

    epochs: int | None = None
    batch: int | None = None
    seed: int | None = None
    steps: int | None = None
    validation: float | None = None
    engine: str = "onnx"
    resume: bool = False
    overwrite: bool = False
    checkpoint_steps: int | None = None
    threads: int | None = None
    record: Stretch | None = None
    ledger: Path | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A run that is over: its folder, what `metrics.json` holds, and the lines of the history.

    `recorder` knows what was recorded, where something was to be.
    """

    folder: Path
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    recorder: Recorder | None = None


def train(
    bundle_dir: Path | str | None,
    sources: Mapping[str, Source],
    out: Path | str,
    options: TrainOptions | None = None,
    listen: Listener = silent,
) -> Result:
    """Trains the bundle in `bundle_dir` on each party's source and saves the run in `out`.

    To resume, `bundle_dir` may be None: the run has a copy of its bundle.

    Raises:
        Failure: VFL0601 to 0618 as the user's data, bundle, disk or options give cause.
        Interrupted: Ctrl-C was pressed; a checkpoint was written.
    """
    options, out = options or TrainOptions(), Path(out)
    check_options(options)
    if options.resume:
        run = RunFolder(out)
        with run.locked():
            return _resume(run, bundle_dir, sources, options, listen)
    if bundle_dir is None:
        raise Failure("VFL0637", "there is no bundle to train", "give a spec or a bundle, or --resume a run")
    refuse_existing(out, options.overwrite)
    bundle = open_bundle(bundle_dir, backend=options.engine)
    settings = new_settings(bundle, options)
    data = loading.load_training(bundle, sources, settings["seed"], settings["validation"], None, listen)
    loading.check_labels(bundle, data)
    order = _order(settings, data.rows)
    recorder = _recorder(out, bundle, order, options)
    session = _session(bundle, options, settings, recorder)
    session.prepare(facts(settings, order))  # what cannot be protected as asked leaves no run behind
    settings["data"] = loading.fingerprint(data)
    account(out, options.ledger, settings, bundle, data, order)
    run = RunFolder.create(out, bundle, settings, data.state, options.overwrite)
    with run.locked(), Interrupts() as interrupts, recorder or nullcontext():
        loop = Loop(run, session, data, order, settings, listen, interrupts)
        return Result(out, loop.run(), loop.progress.history, recorder)


def _resume(
    run: RunFolder,
    bundle_dir: Path | str | None,
    sources: Mapping[str, Source],
    options: TrainOptions,
    listen: Listener,
) -> Result:
    if bundle_dir is not None and options.engine == "keras":
        add_keras(run.path / "bundle", Path(bundle_dir))
    if run.places is not None:
        raise Failure(
            "VFL0636", f"{run.path} is the part of {', '.join(run.places)}", "resume it by `vflc party`"
        )
    bundle = run.bundle(options.engine)
    given = None if bundle_dir is None else open_bundle(bundle_dir, backend=options.engine).manifest.digest
    if given not in (None, bundle.manifest.digest):
        raise Failure(
            "VFL0625",
            f"{run.path} is a run of another spec",
            "resume it with the spec it was started with, or start anew with another --out",
        )
    settings = resumed_settings(run, options)
    data = loading.load_training(
        bundle, sources, settings["seed"], settings["validation"], run.fitted(bundle), listen
    )
    if loading.fingerprint(data) != settings["data"]:
        raise Failure(
            "VFL0626", f"{run.path} was trained on other rows", "resume it with the data it was started with"
        )
    order = _order(settings, data.rows)
    recorder = _recorder(run.path, bundle, order, options)
    with Interrupts() as interrupts, recorder or nullcontext():
        session = _session(bundle, options, settings, recorder)
        loop = Loop(run, session, data, order, settings, listen, interrupts)
        checkpoint = run.go_on(listen)
        if checkpoint is not None:
            loop.restore(checkpoint)
        return Result(run.path, loop.run(), loop.progress.history, recorder)


def account(
    out: Path, ledger: Path | None, settings: dict[str, Any], bundle: Bundle, data: Dataset, order: Order
) -> None:
    """Charges a run that is about to begin in `out` to the ledgers of the parties here: `spending.begin`."""
    folder = ledger or out.parent / "ledger"
    kept = spending.begin(folder, bundle.manifest, bundle.plans, data, facts(settings, order))
    if kept is not None:
        settings["ledger"] = kept


def _order(settings: Mapping[str, Any], rows: int) -> Order:
    return Order(rows, settings["seed"], settings["validation"], settings["batch"], settings["shuffle"])


def _recorder(out: Path, bundle: Bundle, order: Order, options: TrainOptions) -> Recorder | None:
    if options.record is None:
        return None
    return Recorder(out, bundle.manifest, order, options.record.steps(order))


def _session(
    bundle: Bundle, options: TrainOptions, settings: Mapping[str, Any], recorder: Recorder | None
) -> Session:
    programs = ("train", "evaluate")
    return Session(bundle, options.engine, settings["seed"], options.threads, programs, recorder)
