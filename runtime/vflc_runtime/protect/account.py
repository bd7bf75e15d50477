"""Which noise is enough for ε and δ, and which ε a noise spends, by the `dp-accounting` library.

A row's own messages of a run are counted: one in each epoch. The order of rows follows from a seed
that all parties know, so the receiver knows whose row it sees and nothing is gained by sampling. Two
rows of norm `clip` at most are up to twice the clip apart: that is what exchanging one for another moves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vflc_runtime.bundle.reading import damaged
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
    def participations(self) -> int:
        """How often a row is trained on at most."""
        if self.steps is None:
            return self.epochs
        return min(self.epochs, self.epochs_of(self.steps))

    def epochs_of(self, steps: int) -> int:
        """Epochs that so many steps have begun."""
        return -(-steps // -(-self.train_rows // self.batch))


def calibrate(epsilon: float, delta: float, releases: int, limit: float, where: Where | None) -> float:
    """The least noise, as a multiple of the clip, for so many messages of a row; `limit` is one, too.

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


def noise_of(options: Mapping[str, Any], guards: int, facts: Facts, where: Where | None) -> float:
    """The noise that was asked for, or the least that is enough, for `guards` that see each message of a row.

    Raises:
        Failure: VFL0672, the ε that is declared is less than what the noise spends; as `calibrate`.
    """
    passes, declared, noise = (_number(options, name) for name in ("passes", "epsilon", "noise"))
    delta, limit = _number(options, "delta"), _number(options, "limit")
    if delta is None or limit is None or (noise is None and declared is None):
        raise damaged("a protection with noise has no `delta`, no `limit`, or neither `epsilon` nor `noise`")
    passes = int(passes or 0)
    releases = guards * (facts.participations + passes)
    if noise is None:
        return calibrate(declared or 0.0, delta, releases, limit, where)
    if declared is not None and spent(noise, delta, releases) > declared:
        after = f" and {passes} pass{'es' * (passes > 1)} after training" * (passes > 0)
        raise Failure(
            "VFL0672",
            f"{facts.participations} epochs{after} with noise of {noise:g} times the clip spend ε = "
            f"{spent(noise, delta, releases):.4g}, but the spec declares {declared:g}",
            "remove `noise`, so that it is calibrated, declare the larger ε, or train for fewer epochs",
            where,
        )
    return noise


def _number(options: Mapping[str, Any], name: str) -> float | None:
    value = options.get(name)
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        raise damaged(f"a protection with noise has {value!r} for `{name}`, which is no number")
    return value


def spent(noise: float, delta: float, releases: int) -> float:
    """ε at `delta` of so many messages of a row with noise of `noise` times the clip.

    Raises:
        Failure: VFL0678, the library is missing.
    """
    return epsilon_of(2.0 * math.sqrt(releases) / noise, delta)


def epsilon_of(mu: float, delta: float) -> float:
    """ε at `delta` of Gaussian mechanisms that are together as one that moves by `mu` deviations.

    Raises:
        Failure: VFL0678, the library is missing.
    """
    return float(_library().get_epsilon_gaussian(1.0 / mu, delta)) if mu else 0.0


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
