"""The trials of a search, and what it tries next: never a setting that was tried before."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from vflc_common.metrics import smaller_is_better

from vflc.api.search import Search

if TYPE_CHECKING:
    from optuna.study import Study

BY_MODEL, AT_RANDOM = 20, 1000
"""How often a setting that was tried before gives way to another one, which Optuna then draws so."""


class TrialResult(Struct, frozen=True):
    """What came of one trial: the settings it tried, and what the run reached with them.

    `value` is that of the metric which the spec monitors, of the best epoch; None where training diverged, or
    the metric was undefined.
    """

    number: int
    settings: dict[str, str]
    value: float | None
    metric: str | None
    epoch: int | None
    validation: dict[str, float | None]
    seconds: float


def goodness(result: TrialResult) -> float:
    """More is better."""
    assert result.value is not None and result.metric is not None
    return -result.value if smaller_is_better(result.metric) else result.value


def next_settings(
    search: Sequence[Search], trials: Sequence[TrialResult], seed: int
) -> dict[str, str] | None:
    """What the next trial tries, by the trials before it and a seed of its own; None where all is tried."""
    import optuna

    known = {_key(each.settings): each for each in trials}
    counts = [each.count for each in search]
    if len(known) >= math.prod(counts):
        return None
    drawn = hashlib.sha256(f"vflc tune {seed} {len(trials) + 1}".encode()).digest()
    own_seed = int.from_bytes(drawn[:4], "little")
    study = optuna.create_study(direction="maximize")
    for result in trials:
        _add(study, search, result)
    for sampler, asked in (
        (optuna.samplers.TPESampler(seed=own_seed), BY_MODEL),
        (optuna.samplers.RandomSampler(seed=own_seed), AT_RANDOM),
    ):
        study.sampler = sampler
        for _ in range(asked):
            found = _asked(study, search)
            if (before := known.get(_key(found))) is None:
                return found
            _add(study, search, before)  # so that the model has it twice, and looks elsewhere
    return None


def _key(settings: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(settings.items()))


def _asked(study: Study, search: Sequence[Search]) -> dict[str, str]:
    chosen = study.ask({each.name: each.distribution() for each in search}).params
    return {each.name: each.written(chosen[each.name]) for each in search}


def _add(study: Study, search: Sequence[Search], result: TrialResult) -> None:
    from optuna.trial import TrialState, create_trial

    parameters: dict[str, Any] = {each.name: each.read(result.settings[each.name]) for each in search}
    study.add_trial(
        create_trial(
            state=TrialState.FAIL if result.value is None else TrialState.COMPLETE,
            params=parameters,
            distributions={each.name: each.distribution() for each in search},
            value=None if result.value is None else goodness(result),
        )
    )
