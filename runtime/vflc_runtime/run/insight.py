"""What a run keeps for `vflc report`, at each place what it may know: nothing of it is sent.

    RUN/PLACE/curves.json   at a label's owner, of the validation rows: see `curves.CurveData`
    RUN/PLACE/columns.json  of its own columns in training: see `drift.ColumnBins`

Neither bears on what is trained. They are written before the checkpoint of their epoch, so that whoever goes
on after a crash writes them again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from vflc_runtime import files
from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.curves import CurveData, fits
from vflc_runtime.data.batches import Order, SomeRows
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.errors import Failure
from vflc_runtime.metrics import Meter
from vflc_runtime.run.drift import ColumnBins, Drift, bins_fit, drifts, profiles, shares_fit
from vflc_runtime.run.shapes import Natural

CURVES, COLUMNS = "curves.json", "columns.json"


class KeptCurves(TypedDict):
    """Curves by prediction, of the model of an `epoch`."""

    epoch: Natural
    predictions: dict[str, CurveData]


class KeptColumns(TypedDict):
    """Bins of the `training` rows, and how the `validation` rows differ, where there are any."""

    training: dict[str, ColumnBins]
    validation: dict[str, Drift]


def keep_curves(run: Path, meter: Meter, epoch: int) -> None:
    """Writes what a meter has of each prediction, in the folders of the places that measure them."""
    for place, found in curves(meter).items():
        _write(run / place / CURVES, {"epoch": epoch, "predictions": found})


def curves(meter: Meter) -> dict[str, dict[str, CurveData]]:
    """What a meter has, by place and prediction."""
    found: dict[str, dict[str, CurveData]] = {}
    for (place, name), collector in meter.collectors.items():
        data = None if collector.curve is None else collector.curve.data()
        if data is not None:
            found.setdefault(place, {})[name] = data
    return found


def keep_columns(run: Path, bundle: Bundle, data: Dataset, order: Order) -> None:
    """Writes what the columns of each place are like in the training rows."""
    training = profiles(bundle, data, order.training)
    validation = drifts(data, order.held_out, training) if len(order.held_out) else {}
    for place, plan in bundle.plans.items():
        if plan.tables:
            own = [_own(each, plan.tables) for each in (training, validation)]
            _write(run / place / COLUMNS, {"training": own[0], "validation": own[1]})


def drift(run: Path, bundle: Bundle, data: Dataset) -> dict[str, Drift]:
    """How all rows of other data differ from those that the run was trained on, by column; none is known of
    runs that kept nothing.

    Raises:
        Failure: VFL0621, what was kept is damaged.
    """
    found: dict[str, Drift] = {}
    for place, plan in bundle.plans.items():
        kept = read_columns(run, place)
        if kept is not None:
            known = _own(kept["training"], plan.tables)
            found |= drifts(data, SomeRows(data.rows, lambda rows: rows), known)
    return found


def read_curves(run: Path, place: str) -> KeptCurves | None:
    """What a place kept of its predictions; None where it kept nothing. VFL0621 where it is damaged."""
    found: KeptCurves | None = _read(run / place / CURVES, KeptCurves)
    if found is not None and not all(map(fits, found["predictions"].values())):
        raise _damaged(run / place / CURVES)
    return found


def read_columns(run: Path, place: str) -> KeptColumns | None:
    """What a place kept of its columns; None where it kept nothing. VFL0621 where it is damaged."""
    found: KeptColumns | None = _read(run / place / COLUMNS, KeptColumns)
    if found is not None and not (bins_fit(found["training"]) and shares_fit(found["validation"])):
        raise _damaged(run / place / COLUMNS)
    return found


def _own(columns: Mapping[str, Any], parties: Iterable[str]) -> dict[str, Any]:
    return {name: each for name, each in columns.items() if name.partition(".")[0] in parties}


def _write(file: Path, content: Mapping[str, Any]) -> None:
    files.replace_with(file, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


def _read(file: Path, shape: Any) -> Any:
    try:
        return msgspec.convert(files.read_json(file), shape)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.MsgspecError):
        raise _damaged(file) from None


def _damaged(file: Path) -> Failure:
    help = "restore the file from a copy, or remove it: only `vflc report` reads it"
    return Failure("VFL0621", f"{file} does not hold what the run kept", help)
