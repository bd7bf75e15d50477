"""A run that was not recorded, trained again so that it can be attacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vflc_common.words import DEFAULT_ENGINE

from vflc_runtime.audit import EPOCHS, STEPS
from vflc_runtime.bundle.folder import is_population
from vflc_runtime.data.source import TableSource
from vflc_runtime.errors import Failure
from vflc_runtime.run.settings import EPOCHS as SETTINGS
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.train import TrainOptions, train
from vflc_runtime.run.transcript import RecordingLength
from vflc_runtime.scratch import scratch_folder


def settings_of(run: Path) -> dict[str, Any]:
    """The settings by which a run was trained, for `trained_again`; VFL0502 where it is of a population."""
    _check_kind(run / "bundle")
    known = RunFolder(run).settings
    said = known.get("held_out") == "where" or known.get("apart")  # by the spec, or by tables of their own
    left = ("validation", "fold") if said else ()
    return {name: known[name] for name in SETTINGS.lasting if name not in left}


@contextmanager
def trained_again(
    bundle: Path,
    sources: Mapping[str, TableSource],
    epochs: int | None = None,
    steps: int | None = None,
    engine: str = DEFAULT_ENGINE,
    threads: int | None = None,
    **settings: Any,
) -> Iterator[Path]:
    """A run that is recorded from its first step, in a folder that is removed afterwards.

    Args:
        bundle: its folder.
        sources: of each party its table.
        epochs: how long to train; `EPOCHS` where None.
        steps: at most so many; `STEPS` where neither is given.
        engine: that trains.
        threads: as those of a run.
        settings: further options of the training.

    Raises:
        Failure: VFL0502, it is of a population; and those of training.
    """
    _check_kind(bundle)
    if steps is None and epochs is None:
        steps = STEPS
    epochs = epochs or EPOCHS
    record = RecordingLength(epochs, True)
    options = TrainOptions(epochs, steps=steps, engine=engine, threads=threads, record=record, **settings)
    with scratch_folder() as folder:
        run = folder / "run"
        train(bundle, sources, run, options)
        yield run


def _check_kind(bundle: Path) -> None:
    if is_population(bundle):
        help = "see manifest.md for what its hub and its users may learn"
        raise Failure("VFL0502", "populations cannot be audited", help)
