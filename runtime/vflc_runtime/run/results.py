"""What `metrics.json` says came of a run, as far as commands count on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from vflc_runtime import files
from vflc_runtime.errors import Failure

RunScores = dict[str, float | None]


class _Results(TypedDict, total=False):
    """Of a run over parties `epochs`, of one over a population `rounds`."""

    epochs: int
    rounds: int
    steps: int
    ended: str
    train: RunScores
    validation: RunScores
    test: RunScores
    best: dict[str, Any] | None
    saved: dict[str, Any] | None


def read_results(run: Path) -> dict[str, Any] | None:
    """What the file in a run's folder holds; None where there is none, as before a run has ended once.

    Raises:
        Failure: VFL0621, it holds something else.
    """
    file = run / "metrics.json"
    try:
        found: dict[str, Any] = files.read_json(file, _Results)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        help = "restore the file from a copy, or remove it and resume the run"
        raise Failure("VFL0621", f"{file} does not hold what came of a run", help) from None
    return found
