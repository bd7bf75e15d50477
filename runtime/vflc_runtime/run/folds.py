"""k-fold cross-validation: a run for each part of the rows, trained on the others and measured on that part.

OUT/fold-1/ … OUT/fold-k/   the runs
OUT/folds.json              their results, with mean and deviation
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from vflc_runtime import files
from vflc_runtime.errors import Failure
from vflc_runtime.run.new_run import refuse_existing
from vflc_runtime.run.settings import TrainOptions, ledger_beside
from vflc_runtime.run.train import TrainResult

FILE = "folds.json"
LEAST = 2


def train_folds(
    folds: int,
    out: Path,
    options: TrainOptions,
    one: Callable[[Path, TrainOptions], TrainResult],
    began: Callable[[int], None] = lambda fold: None,
) -> dict[str, Any]:
    """Trains a run for each of `folds` parts of the rows; with `resume` those that are over stay as they are.

    Args:
        folds: into how many parts the rows go; the seed, and what the spec says of validation, decide which.
        out: the folder of the runs.
        options: of each run.
        one: trains a run in a folder, in one process or with other parties.
        began: is told of each fold, from 1.

    Returns:
        What `folds.json` holds: see `summary`.

    Raises:
        Failure: VFL0638, VFL0748 as the options contradict each other; VFL0608, there are fewer rows than
            folds, which the first run finds out before it trains; those of training.
    """
    if folds < LEAST:
        raise Failure("VFL0638", f"folds is {folds}", f"give at least {LEAST}")
    for name in ("validation", "fold", "validation_data", "record"):
        if getattr(options, name) is not None:
            why = f"with folds each part of the rows is validated with in turn, and `{name}` is given"
            raise Failure("VFL0748", why, f"leave out `{name}`, or `folds`")
    if not (out / FILE).exists() and not any(out.glob("fold-*/run.json")):
        refuse_existing(out, overwrite=False)
    if options.resume:
        _refuse_other_number(out, folds)
    else:
        _refuse_others(out, folds, options.overwrite)
    files.make_folder(out)
    options = replace(options, folds=folds, validation=1 / folds, ledger=options.ledger or ledger_beside(out))
    found = []
    for number in range(1, folds + 1):
        began(number)
        path = out / f"fold-{number}"
        resume = options.resume and (path / "run.json").exists()
        own = replace(options, fold=number - 1, resume=resume)
        found.append((path, one(path, own).metrics))
    result_of_all = summary(found)
    files.write_json(out / FILE, result_of_all)
    return result_of_all


def _refuse_other_number(out: Path, folds: int) -> None:
    """VFL0627 where the runs that are there are of another number of folds."""
    for path in sorted(out.glob("fold-*/run.json")):
        with suppress(
            OSError, ValueError, KeyError, TypeError
        ):  # a damaged run is reported when it is opened
            before = files.read_json(path)["folds"]
            if before != folds:
                why = f"{out} was started with {before} folds and cannot continue with {folds}"
                raise Failure("VFL0627", why, f"give --folds {before}, or start again in another folder")


def _refuse_others(out: Path, folds: int, overwrite: bool) -> None:
    """VFL0624 where there are runs that may not give way, also of more folds than now."""
    for path in sorted(out.glob("fold-*")):
        refuse_existing(path, overwrite)
        if path.name not in {f"fold-{number}" for number in range(1, folds + 1)}:
            raise Failure("VFL0624", f"{path} is a run of more folds", "remove it, or choose another folder")


def summary(runs: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Any]:
    """`folds`, of each run its folder, its epochs and the results on its part; their `mean` and `deviation`.

    A mean is over all folds, and None where a result is undefined in one of them.
    """
    scores = [metrics["validation"] for _, metrics in runs]
    return {
        "folds": [
            {
                "run": str(path),
                "train_rows": metrics["train_rows"],
                "validation_rows": metrics["validation_rows"],
                "best": metrics["best"],
                "saved": metrics["saved"],
                "validation": metrics["validation"],
            }
            for path, metrics in runs
        ],
        "mean": over(scores, statistics.fmean),
        "deviation": over(scores, statistics.stdev),
    }


def over(
    scores: Sequence[Mapping[str, float | None]], of: Callable[[Sequence[float]], float]
) -> dict[str, float | None]:
    """A statistic of each result over all folds; None where it is undefined in one of them."""
    found: dict[str, float | None] = {}
    for name in scores[0]:
        column = [each[name] for each in scores]
        whole = [value for value in column if value is not None]
        found[name] = of(whole) if len(whole) == len(column) else None
    return found
