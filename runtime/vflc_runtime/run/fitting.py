"""Tables that are fitted to the training rows before the first step: the weight of evidence of bins.

    RUN/PLACE/woe.json  of each table here its bins: rows of each class, evidence, and information value

What counts the rows of a batch is part of the model; this adds batches up, and makes evidence of the sums.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Indices

from vflc_runtime import files
from vflc_runtime.bundle.plan import TableFit
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.data.batches import Inputs
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.engines.engine import Engine
from vflc_runtime.errors import Failure
from vflc_runtime.events import EvidenceOfBins
from vflc_runtime.finite import NotFinite, finite
from vflc_runtime.run.session import Session

FILE = "woe.json"


def evidence(counts: NDArray[np.float64], smoothing: float, monotone: bool = False) -> NDArray[np.float64]:
    """The weight of evidence of each bin [n], by how many rows of it have the label and have not [n, 2].

    Each bin has `smoothing` rows more, with the label in as large a share of them as of all rows. So one
    without rows has none, and one whose rows are all alike has a finite one. Where it is to be `monotone`,
    it rises or falls, whichever tells more.
    """
    totals = counts.sum(axis=0)
    rows = counts + smoothing * totals / totals.sum()
    if not monotone:
        return _of_rows(rows, totals)
    ways = [_of_rows(_pooled(rows), totals), _of_rows(_pooled(rows[::-1])[::-1], totals)]
    return max(ways, key=lambda woe: information(counts, woe))


def _pooled(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of bins [n, 2], of neighbours together where the share of the first class would fall.

    The pool-adjacent-violators algorithm (Ayer et al., Annals of Mathematical Statistics, 1955).
    """
    pools: list[tuple[NDArray[np.float64], int]] = []
    for each in rows:
        pool, bins = each, 1
        while pools and pools[-1][0][0] * pool[1] >= pool[0] * pools[-1][0][1]:
            before, more = pools.pop()
            pool, bins = before + pool, more + bins
        pools.append((pool, bins))
    return np.repeat(np.stack([pool for pool, _ in pools]), [bins for _, bins in pools], axis=0)


def _of_rows(rows: NDArray[np.float64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """The evidence of bins by their rows [n, 2], and those of all [2]."""
    found: NDArray[np.float64] = np.log(rows[:, 0] / totals[0]) - np.log(rows[:, 1] / totals[1])
    return found


def information(counts: NDArray[np.float64], woe: NDArray[np.float64]) -> float:
    """The information value of bins [n]: evidence times (p - q), their shares of the classes, summed."""
    shares = counts / counts.sum(axis=0)
    return float(((shares[:, 0] - shares[:, 1]) * woe).sum())


def batches(data: Dataset, rows: Iterable[Indices]) -> Iterator[tuple[Inputs, int]]:
    """The training rows of the places here, of which `rows` are batches [n], with how many each has."""
    return ((data.batch(part), len(part)) for part in rows)


def fit(
    session: Session, training: Iterable[tuple[Inputs, int]], kept: Mapping[str, Collection[str]]
) -> dict[str, list[EvidenceOfBins]]:
    """Fits the tables of the places here, and gives them to the engines.

    Args:
        session: of all places or some; all do this at the same time.
        training: as `batches` gives them.
        kept: by place, weights that stay as they are.

    Returns:
        By place what its tables were fitted to.

    Raises:
        Failure: VFL0770, the label is the same in all rows that count.
    """
    sums: dict[str, dict[str, NDArray[np.float64]]] = {place: {} for place in session.engines}
    for inputs, rows in training:
        session.fit(inputs, rows)
        for place, engine in session.engines.items():
            for table in engine.plan.fits:
                counts = _counted(place, engine, table)
                sums[place][table.weight] = counts + sums[place].get(table.weight, 0.0)
    found: dict[str, list[EvidenceOfBins]] = {}
    for place, engine in session.engines.items():
        tables = [each for each in engine.plan.fits if each.weight not in kept.get(place, ())]
        if tables:
            weights = {name: np.array(value) for name, value in engine.weights().items()}
            found[place] = [_fitted(table, sums[place][table.weight]) for table in tables]
            for made in found[place]:
                weights[made.name][:, 0] = made.woe
            engine.load(weights)
    return found


def _counted(place: str, engine: Engine, table: TableFit) -> NDArray[np.float64]:
    """What a table is fitted to of a batch, [bins, 2]; VFL0613 and VFL0611 where it cannot be that."""
    counts = np.asarray(engine.get(table.counts), np.float64)
    if counts.shape != (engine.plan.weights[table.weight].shape[0], 2):
        raise damaged(f"plan.json: {table.counts!r} is no count of the rows of {table.weight!r}")
    if not finite(counts):
        raise NotFinite(f"{table.counts!r} at {place!r} is not finite", training=False)
    return counts


def _fitted(table: TableFit, counts: NDArray[np.float64]) -> EvidenceOfBins:
    totals = counts.sum(axis=0)
    if not (totals > 0).all():
        only = "0" if totals[0] <= 0 else "1"
        raise Failure(
            "VFL0770",
            f"{table.label} is {only} in all training rows that count: no bin of {table.feature} is evidence",
            "check the condition that defines the label, and which rows are kept for validation",
        )
    woe = evidence(counts, table.smoothing, table.monotone)
    iv = information(counts, woe)
    return EvidenceOfBins(table.weight, table.feature, table.label, counts.tolist(), woe.tolist(), iv)


def write(folder: Path, tables: Sequence[EvidenceOfBins]) -> None:
    """Writes what tables of a place were fitted to into its folder; VFL0612 where the disk refuses."""
    content = {
        each.name: {
            "feature": each.feature,
            "label": each.label,
            "information_value": each.information,
            "bins": [
                {"bin": number, "with": has, "without": lacks, "woe": woe}
                for number, ((has, lacks), woe) in enumerate(zip(each.counts, each.woe, strict=True))
            ],
        }
        for each in tables
    }
    with files.writing(folder):
        files.make_folder(folder)
        files.replace_with(folder / FILE, json.dumps(content, indent=1).encode() + b"\n")
