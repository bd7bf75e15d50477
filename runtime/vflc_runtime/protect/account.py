"""Which noise is enough for ε and δ, and which ε a noise spends, by the `dp-accounting` library.

A row's own messages of a run are counted: one in each epoch. The order of rows follows from a seed
that all parties know, so the receiver knows whose row it sees and nothing is gained by sampling. Two
rows of norm `clip` at most are up to twice the clip apart: that is what exchanging one for another moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vflc_runtime.errors import Failure, Where


@dataclass(frozen=True, slots=True)
class Facts:
    """What only a run knows.

    Args:
        rows: aligned rows, those of validation included.
        train_rows: rows that are trained on.
        batch: rows a step.
        epochs: of the whole run.
        steps: where the run ends earlier.
    """

    rows: int
    train_rows: int
    batch: int
    epochs: int
    steps: int | None = None

    @property
    def visits(self) -> int:
        """How often a row is trained on at most."""
        if self.steps is None:
            return self.epochs
        return min(self.epochs, self.epochs_of(self.steps))

    def epochs_of(self, steps: int) -> int:
        """Epochs that so many steps have begun."""
        return -(-steps // -(-self.train_rows // self.batch))


def calibrate(epsilon: float, delta: float, releases: int, limit: float, where: Where | None) -> float:
    """The least noise, as a multiple of the clip, for so many messages of a row.

    Raises:
        Failure: VFL0673, no noise up to `limit` is enough; VFL0678, the library is missing.
    """
    noise = 2.0 * math.sqrt(releases) * float(_library().get_sigma_gaussian(epsilon, delta))
    if not noise <= limit:
        raise Failure(
            "VFL0673",
            f"ε = {epsilon:g} over {releases} messages of a row needs noise of {noise:.3g} times the clip; "
            f"the limit is {limit:g}",
            "ask for a larger ε or δ, or train for fewer epochs",
            where,
        )
    return noise


def spent(noise: float, delta: float, releases: int) -> float:
    """ε at `delta` of so many messages of a row with noise of `noise` times the clip.

    Raises:
        Failure: VFL0678, the library is missing.
    """
    if not releases:
        return 0.0
    return float(_library().get_epsilon_gaussian(noise / (2.0 * math.sqrt(releases)), delta))


def _library() -> Any:
    try:
        import dp_accounting
    except ImportError:
        raise Failure(
            "VFL0678",
            "the ε of Gaussian noise is computed by the library dp-accounting, which is not installed",
            "pip install 'vflc[dp]'",
        ) from None
    return dp_accounting
