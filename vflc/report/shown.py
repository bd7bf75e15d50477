"""A run as a report shows it: what its folder holds, read and checked, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from vflc_runtime import files
from vflc_runtime.bundle.manifest import read_manifest
from vflc_runtime.curves import CurveData, fits
from vflc_runtime.errors import Failure
from vflc_runtime.run.checkpoints import read_progress
from vflc_runtime.run.drift import Drift, shares_fit
from vflc_runtime.run.insight import KeptCurves, read_columns, read_curves
from vflc_runtime.run.results import read_results
from vflc_runtime.run.state import RunFolder

from vflc.report.shapes import (
    EpochResults,
    EvaluationDetails,
    RunResults,
    ShownAudit,
    ShownManifest,
)

T = TypeVar("T")
MOST_BYTES = 1 << 28
"""Of a file that somebody names; none that is what it should be comes near."""


class ShownRun(Struct, frozen=True):
    """A run.

    Args:
        name: what the page calls it.
        settings: those of run.json, without what is its own secret.
        manifest: of its bundle.
        places: those whose part of the run this is; None where it is the whole.
        history: a line for each epoch, or each measured round.
        results: of metrics.json; None while it runs, or where it was interrupted.
        sent: bytes so far, by edge id.
        best: the epoch whose weights are the best so far, where that is known.
        curves: what its label owners kept.
        drift: how its validation rows differ from its training rows, by column.
        evaluation: of other rows, if there is one.
        audit: if there is one.
        now: of a run that is watched: how far it is, in words.
    """

    name: str
    settings: Mapping[str, Any]
    manifest: ShownManifest
    places: tuple[str, ...] | None
    history: list[EpochResults]
    results: RunResults | None
    sent: Mapping[str, int]
    best: int | None
    curves: Mapping[str, KeptCurves]
    drift: Mapping[str, Drift]
    evaluation: EvaluationDetails | None = None
    audit: ShownAudit | None = None
    now: str | None = None

    @property
    def unit(self) -> str:
        """What a line of the history is of."""
        return "round" if "rounds" in self.settings else "epoch"

    @property
    def own(self) -> tuple[str, ...]:
        """The places whose part of the run this is."""
        return self.places or tuple(self.manifest.places)


SECRET = {"secret", "ledger", "before", "format"}
"""Of run.json: keys, folders of this machine, and what nobody reads."""


def shown(path: Path, name: str | None = None) -> ShownRun:
    """What the folder of a run holds.

    Raises:
        Failure: VFL0613, VFL0614, VFL0621, VFL0625: it is no run, is damaged, or is not of its bundle;
            VFL0805, a file holds something that no run writes.
    """
    run = RunFolder(path)
    document = read_manifest(path / "bundle" / "manifest.json").document
    manifest = _checked(document, ShownManifest, path / "bundle" / "manifest.json")
    if manifest.digest != run.settings.get("digest"):
        raise Failure("VFL0625", f"{path / 'bundle'} is not the bundle that this run was made from")
    places = run.places
    if places is not None and not {*places} <= {*manifest.places}:
        raise _unusable(path / "run.json", f"it is the part of {', '.join(places)}, who are in no place here")
    history = run.history() if (path / "history.jsonl").exists() else []
    results = read_results(path)
    found = None if results is None else _checked(results, RunResults, path / "metrics.json")
    sent, best = _so_far(run) if found is None else (found.get("bytes_sent", {}), _best(found))
    own = places or tuple(manifest.places)
    return ShownRun(
        name=name or str(path),
        settings={key: value for key, value in run.settings.items() if key not in SECRET},
        manifest=manifest,
        places=places,
        history=_checked(history, list[EpochResults], path / "history.jsonl"),
        results=found,
        sent=sent,
        best=best,
        curves={place: kept for place in own if (kept := read_curves(path, place)) is not None},
        drift=_drift(path, own),
    )


def _drift(path: Path, places: Iterable[str]) -> dict[str, Drift]:
    """How the validation rows differ, the farthest column first."""
    found: dict[str, Drift] = {}
    for place in places:
        columns = read_columns(path, place)
        found |= {} if columns is None else columns["validation"]
    return dict(sorted(found.items(), key=lambda each: (-each[1]["psi"], each[0])))


def _best(results: RunResults) -> int | None:
    best = (results.get("best") or {}).get("epoch")
    return best if isinstance(best, int) else None


def _so_far(run: RunFolder) -> tuple[Mapping[str, int], int | None]:
    """Of a run that has not ended: bytes sent, and the best epoch, as its last checkpoint has them."""
    with suppress(Failure, IndexError):
        progress = read_progress(run.checkpoints.all()[-1])
        return progress.sent, progress.best["epoch"] if progress.best else None
    return {}, None


def read_evaluation(file: Path) -> EvaluationDetails:
    """What `vflc evaluate --details` wrote; VFL0805 where a file holds something else."""
    found = _checked(_json(file), EvaluationDetails, file)
    return check_evaluation(found, file)


def check_evaluation(found: EvaluationDetails, file: Path) -> EvaluationDetails:
    """The same, once its types are right: VFL0805 where it does not hold together."""
    curves: Mapping[str, CurveData] = found.get("curves", {})
    if not all(map(fits, curves.values())) or not shares_fit(found.get("drift", {})):
        raise _unusable(file, "its bins do not hold together")
    return found


def read_audit(file: Path) -> ShownAudit:
    """What `vflc audit --json` wrote; VFL0805 where a file holds something else."""
    return _checked(_json(file), ShownAudit, file)


def _json(file: Path) -> Any:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise _unusable(file, f"it has more than {MOST_BYTES:,} bytes")
        return files.read_json(file)
    except OSError as error:
        raise _unusable(file, f"it cannot be read ({error.strerror})") from None
    except ValueError:
        raise _unusable(file, "it is no JSON") from None


def _checked(found: Any, shape: type[T], file: Path) -> T:
    try:
        return msgspec.convert(found, shape)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _unusable(file, str(error)) from None


def _unusable(file: Path, why: str) -> Failure:
    help = "name a file that vflc wrote, as it was written: --evaluation of `vflc evaluate --details`, "
    return Failure("VFL0805", f"{file} cannot be shown: {why}", help + "--audit of `vflc audit --json`")


def matching(runs: list[ShownRun], evaluations: list[Path], audits: list[Path]) -> list[ShownRun]:
    """The runs with what was found of them since, each file at the runs of its bundle.

    Raises:
        Failure: VFL0805, a file is of no run here, or of two; or it holds something else.
    """
    for file in evaluations:
        evaluation = read_evaluation(file)
        at = _only(runs, evaluation["digest"], file, lambda run: run.evaluation)
        runs[at] = msgspec.structs.replace(runs[at], evaluation=evaluation)
    for file in audits:
        audit = read_audit(file)
        at = _only(runs, audit.digest, file, lambda run: run.audit)
        runs[at] = msgspec.structs.replace(runs[at], audit=audit)
    return runs


def _only(runs: list[ShownRun], digest: str, file: Path, taken: Any) -> int:
    """The first run of a bundle that has no such file yet."""
    found = [at for at, run in enumerate(runs) if run.manifest.digest == digest and taken(run) is None]
    if not found:
        raise _unusable(file, "none of the runs is of its bundle, or each has such a file already")
    return found[0]


def as_json(evaluation: Mapping[str, Any], digest: str) -> bytes:
    """The file that `read_evaluation` reads, of what an evaluation found."""
    text = json.dumps({"digest": digest, **evaluation}, ensure_ascii=False)
    return text.encode("utf-8", "replace") + b"\n"
