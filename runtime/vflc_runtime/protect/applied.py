"""What a protection did in a run, for `metrics.json`."""

from __future__ import annotations

from typing import Any

from vflc_runtime.bundle.plan_guards import Guard
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import Facts, spent
from vflc_runtime.protect.state import GuardState

DEFECT = 4
"""Exit code where vflc itself is at fault."""


def entry(
    guard: Guard, state: GuardState, edges: list[str], steps: int, place: str, facts: Facts | None
) -> dict[str, Any]:
    """Of a guard at a place: what it is, on which edges, how often it ran, and what that spends.

    Raises:
        Failure: VFL0670, it did not run in every of the run's steps.
    """
    if state.steps != steps:
        raise Failure(
            "VFL0670",
            f"protection {guard.id!r} ran in {state.steps} of {steps} steps",
            "this is a bug in vflc: please report it; do not use what this run has sent",
            guard.where,
            DEFECT,
        )
    found: dict[str, Any] = {
        "id": guard.id,
        "mechanism": guard.mechanism,
        "options": dict(guard.options),
        "place": place,
        "phase": guard.phase,
        "edges": edges,
        "steps": state.steps,
        "rows": state.rows,
        "privacy": guard.privacy,
        "promise": guard.promise,
    }
    if guard.calibrated and state.noise is not None and facts is not None:
        epochs, delta = facts.epochs_of(steps) + state.resumed, guard.number("delta")

        def at(times: int) -> float:
            return spent(state.noise or 0.0, delta, guard.releases * times)

        found |= {"noise": state.noise, "epsilon": at(epochs + guard.passes), "delta": delta}
        if set(guard.programs) != {"train"}:
            found |= {"passes": guard.passes, "epsilon_training": at(epochs), "epsilon_pass": at(1)}
    elif guard.answers:
        drawn = sum(len(kept) for kept in state.kept.values())
        found |= {"epsilon": guard.number("epsilon"), "delta": 0.0, "labels_drawn": drawn}
    return found
