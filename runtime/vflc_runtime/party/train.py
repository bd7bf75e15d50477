"""Training at one place, in step with the others: the loop of a run in one process, and its bits."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.folder import Bundle, add_files, open_bundle
from vflc_runtime.bundle.plugins import find_engine
from vflc_runtime.data.batches import Order
from vflc_runtime.data.dataset import Agree, Dataset
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.interrupts import Interrupted, Interrupts
from vflc_runtime.party.agreement import START, agree_rows, compare
from vflc_runtime.party.coordinator import PartyCoordinator
from vflc_runtime.party.held_out import HeldOutRows
from vflc_runtime.party.joined import Joined
from vflc_runtime.party.keys import exchange_keys
from vflc_runtime.party.peers import Peers
from vflc_runtime.party.rows import PlaceRows
from vflc_runtime.party.site import Site, giving_notice, take_part
from vflc_runtime.run import loading, start_weights
from vflc_runtime.run.loop import EpochLoop
from vflc_runtime.run.new_run import create, refuse_existing
from vflc_runtime.run.results import read_results
from vflc_runtime.run.session import Session
from vflc_runtime.run.settings import (
    EPOCHS,
    check_options,
    new_settings,
    only_those_of,
    resumed_settings,
    version,
)
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.train import TrainOptions, TrainResult
from vflc_runtime.run.work import account, order_of
from vflc_runtime.transport.network import Ended, Restarted

SETTINGS = ("seed", "batch", "epochs", "steps", "validation", "fold", "shuffle", "checkpoint_steps")
"""What bears on the result, or on which checkpoints there are."""


def train_party(
    bundle_dir: Path | str | None, site: Site, out: Path | str, options: TrainOptions | None = None
) -> TrainResult:
    """Trains with the other parties and saves this one's part of the run in `out`.

    Weights, slots and what the loop decides are those of `train` on the same data, to the bit.
    With `resume` the run in `out` goes on; where there is none yet, it begins: a supervisor may
    start a party with the same command again and again. `options.engine` and `options.threads`
    give way to the site's.

    Raises:
        Failure: VFL0601 to 0618 as this party's own input gives cause, VFL0640 to 0669 where peers
            or the network do.
        Interrupted: Ctrl-C was pressed here; all parties have a checkpoint of the same step.
    """
    with ExitStack() as held:
        training = _Training(bundle_dir, site, Path(out), options or TrainOptions(), held)
        over, batch = training.over, training.settings["batch"]
        if over is not None and over.metrics.get("parted"):
            return over
        try:
            result, spent = take_part(site, training.bundle, batch, training.once, resumes=True)
        except (Ended, Failure) as error:
            if over is None or (isinstance(error, Failure) and error.exit_code != PEER):
                raise
            result, spent = over, over.metrics.get("peers", {})  # nobody is there who needs this one
        result.metrics.update(peers=spent, parted=training.parted)
        RunFolder(result.folder).write_metrics(result.metrics)
        return result


class _Training:
    """A run at one place, which may go back to a checkpoint when a peer began anew."""

    def __init__(
        self, bundle_dir: Path | str | None, site: Site, out: Path, options: TrainOptions, held: ExitStack
    ) -> None:
        if site.apart is not None:
            options = replace(options, validation_data={site.place: site.apart})
        self.site, self.out, self.options, self._held = site, out, options, held
        self.over: TrainResult | None = None
        self.parted = False  # whether all were heard to be at the end
        self._run: RunFolder | None = None
        self.start: dict[str, dict[str, Array]] = {}
        self._held_out: HeldOutRows | None = None
        self._from: start_weights.StartingPoint | None = None
        check_options(options)
        only_those_of(EPOCHS, options)
        if options.resume and (out / "run.json").exists():
            self._run = run = RunFolder(out)
            held.enter_context(run.locked())
            with giving_notice(site, run.bundle(site.engine).manifest):
                self.bundle = _bundle_of(run, bundle_dir, site)
                self.settings = resumed_settings(run, options)
                self.over = _over(run, self.settings)
                self._same_start(options.start)
                if self.over is None:
                    self._look()
            return
        if bundle_dir is None:
            raise Failure("VFL0637", "there is no bundle to train", "name one, or --resume a run in --out")
        refuse_existing(out, options.overwrite)
        self.bundle = open_bundle(bundle_dir, (site.place,), site.engine)
        self.settings = {**new_settings(self.bundle, options), "places": [site.place]}
        self._from = start_weights.StartingPoint.of(options, self.bundle)
        if self._from is not None:
            self.start, self.settings["given"] = self._from.given.weights, self._from.given.name
            self.settings |= {"before": self._from.before} if self._from.before else {}
        self._look()

    def _look(self) -> None:
        """Whether the tables are there, before anybody waits for their being read."""
        loading.look(self.bundle, self.site.sources(self.bundle))
        if self.site.apart is not None:
            loading.look(self.bundle, {self.site.place: self.site.apart})

    def once(self, peers: Peers, rows: PlaceRows) -> TrainResult:
        """From the first word to the last: all agree on where to begin, train, and part."""
        terms: dict[str, Any] = {
            "program": "train",
            "version": version(),
            "digest": self.bundle.manifest.digest,
        }
        terms |= {key: self.settings[key] for key in SETTINGS} | {"from": self.settings.get("given")}
        terms["refit"] = self.options.refit
        tables = {"validation data": self.site.apart is not None if self.bundle.parties else None}
        name = compare(peers, terms, find_engine(self.site.engine).reads, self.bundle.keras, tables)
        self._held_out = held_out = HeldOutRows(peers, self.bundle, self.settings)
        own = rows.load(self._load)
        held_out.again(rows.data)
        run = self._run
        held = run.held(self.site.listen) if run is not None else {}
        may_start = run is None or bool(held) or not run.saved  # nobody's trained model gives way unasked
        count, checkpoint, apart = agree_rows(peers, own, held, may_start, self._rows_apart(rows.data))
        data = rows.all(count)
        if apart is not None:
            data.held_out = np.arange(count - apart, count)
        settings = self.settings
        order = order_of(settings, count, held_out.agreed(count, data))
        run = self._run = self._run_folder(data, order)
        coordinator = PartyCoordinator(peers, name, "evaluate" if len(order.held_out) else "train")
        session = Session(
            self.bundle, self.site.engine, settings["seed"], self.site.threads, ("train", "evaluate"),
            transport=Joined(peers.network),
        )  # fmt: skip
        if self.settings.get("given"):
            start_weights.take(run.path, session.engines)
        exchange_keys(peers, session)
        with Interrupts() as interrupts:
            loop = EpochLoop(run, session, data, order, settings, self.site.listen, interrupts, coordinator)
            begin = run.go_back(None if checkpoint == START else checkpoint)
            if begin is not None:
                loop.restore(begin)
            try:
                metrics = loop.run()
            except (Ended, Restarted, Failure) as error:
                if interrupts.asked and getattr(error, "exit_code", PEER) == PEER:
                    raise KeyboardInterrupt from None  # who wants to stop does not go on to wait
                raise
            except Interrupted as stopped:
                with suppress(Ended, Restarted, Failure):
                    coordinator.before_saving()  # nobody leaves before all have the checkpoint
                if interrupts.asked:
                    raise
                raise _stopped(stopped) from None
        with suppress(Ended, Failure):  # whoever is gone by now has all it needs
            coordinator.leave()
            self.parted = True
        return TrainResult(self.out, metrics, loop.progress.history)

    def _same_start(self, path: Path | None) -> None:
        """VFL0625 where a run that goes on is given other weights to start from than it began with."""
        if path is not None and start_weights.read(path, self.bundle).name != self.settings.get("given"):
            raise Failure(
                "VFL0625",
                f"{self.out} did not start from {path}",
                "resume it without --from, or start again with another --out",
            )

    def _load(self, agree: Agree | None) -> Dataset:
        fitted = None if self._from is None else self._from.fitted
        fitted = fitted if self._run is None else self._run.fitted(self.bundle)
        settings, sources = self.settings, self.site.sources(self.bundle)
        assert self._held_out is not None
        data = loading.load_training(
            self.bundle,
            sources,
            settings,
            fitted,
            self.site.listen,
            agree,
            self.options.validation_data,
            self._held_out.keep,
            fit_rest=self._run is None,
        )
        loading.check_labels(self.bundle, data)
        if self._from is not None and self._run is None:
            self._from.tell(data.state, self.site.listen)
        return data

    def _rows_apart(self, data: Dataset | None) -> int | None:
        """How many of this place's rows come from its table to validate with; None without one."""
        if data is None or self.site.apart is None:
            return None
        assert data.held_out is not None
        return len(data.held_out)

    def _run_folder(self, data: Dataset, order: Order) -> RunFolder:
        """The run's folder, made where there is none yet; VFL0626 where it was trained on other rows."""
        marks = loading.marks(self.bundle, self.settings, data, self.site.apart is not None)
        if self._run is None:
            self.settings |= marks
            ledger = self.site.ledger or self.options.ledger
            account(self.out, ledger, self.settings, self.bundle, data, order)
            run = create(self.out, self.bundle, self.settings, data.state, self.options.overwrite)
            start_weights.keep(run.path, self.start)
            self._held.enter_context(run.locked())
            return run
        help = "resume it with the data it was started with, at all parties"
        loading.same_rows(self.out, self.settings, marks, help)
        return self._run


def _bundle_of(run: RunFolder, bundle_dir: Path | str | None, site: Site) -> Bundle:
    """The bundle of a run that goes on, compared with the one that is given."""
    if run.places != (site.place,):
        whose = "all parties in one process" if run.places is None else ", ".join(run.places)
        raise Failure("VFL0636", f"{run.path} is a run of {whose}, not of {site.place}", "name another --out")
    if bundle_dir is not None:
        add_files(run.path / "bundle", Path(bundle_dir), site.engine)
    bundle = run.bundle(site.engine)
    if bundle_dir is not None:
        given = open_bundle(bundle_dir, (site.place,), site.engine)
        if given.manifest.digest != bundle.manifest.digest:
            raise Failure(
                "VFL0625",
                f"{run.path} is a run of another spec",
                "resume it with the bundle it was started with, or start again in another folder",
            )
    return bundle


def _over(run: RunFolder, settings: dict[str, Any]) -> TrainResult | None:
    """What came of a run that all parties have trained to the end; None where there is something left to do.

    Where its metrics do not say `parted`, another process may have been killed that can learn from
    this one alone that all came to the end.
    """
    metrics = read_results(run.path)
    if metrics is None or not {"ended", "steps", "epochs"} <= metrics.keys():
        return None
    steps, ended = settings["steps"], metrics["ended"]
    stopped_early = ended == "early stopping" or (steps is not None and metrics["steps"] >= steps)
    if not stopped_early and metrics["epochs"] < settings["epochs"]:
        return None
    return TrainResult(run.path, metrics, run.history())


def _stopped(stopped: Interrupted) -> Failure:
    return Failure(
        "VFL0653",
        f"a peer stopped the run after step {stopped.step}",
        "continue with --resume at all parties; all have a checkpoint of that step",
        exit_code=PEER,
    )
