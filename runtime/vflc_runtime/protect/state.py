"""What is kept of a guard while a run goes on, and what was saved of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vflc_common.arrays import Array

from vflc_runtime.errors import Failure


@dataclass(slots=True)
class GuardState:
    """A guard in a run.

    Args:
        noise: deviation as a multiple of the clip, where it is calibrated.
        epochs: for how many it is enough.
        resumed: how often the run went on otherwise than before: rows have sent once more each time.
        kept: by draw, an array [row, …] of all rows of the data.
        runs: how often it ran in the program at hand.
    """

    noise: float | None = None
    epochs: int = 0
    resumed: int = 0
    kept: dict[str, Array] = field(default_factory=dict)
    steps: int = 0
    rows: int = 0
    runs: int = 0


def fitting(saved: Mapping[str, Array], name: str, like: Array) -> Array:
    """What was saved under a name; VFL0621 where it is not there, or not of the form [*] of `like`."""
    found = saved.get(name)
    if found is None or found.shape != like.shape or found.dtype != like.dtype:
        raise lost(name)
    return found


def lost(name: str) -> Failure:
    """VFL0621: the run cannot go on."""
    return Failure(
        "VFL0621",
        f"the saved files do not contain what protection {name!r} keeps",
        "start again in another folder",
    )
