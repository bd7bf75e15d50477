"""What the protections of one place keep over a run: noise that was found, draws, what rows are owed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from vflc_common.arrays import Array
from vflc_common.plugins import Plugin

from vflc_runtime.bundle.plan import PlacePlan
from vflc_runtime.bundle.plan_guards import Draw
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import Facts, noise_of
from vflc_runtime.protect.noise import Noise
from vflc_runtime.protect.replay import SECRET, NoiseReplay
from vflc_runtime.protect.solvers import Solved
from vflc_runtime.protect.state import GuardState, fitting, lost

HEARD, SECRET_NAME = "heard", "secret"
"""What these are saved under; ids of draws have a dot."""


class States:
    """Of all guards of a place. Before training, `prepare` or `restore` must be told what only the run knows.

    Args:
        plan: of the place.
        noise: where all noise comes from.
        plugins: those that the manifest names.
    """

    def __init__(self, plan: PlacePlan, noise: Noise | None = None, plugins: Sequence[Plugin] = ()) -> None:
        self._plan, self._noise = plan, noise or Noise()
        self._states = {name: GuardState() for name in plan.guards}
        self._facts: Facts | None = None
        self._restored = False
        self._silent = False
        self.replay: NoiseReplay | None = None
        self._solving = {
            name: Solved(guard.solver, guard, plugins)
            for name, guard in plan.guards.items()
            if guard.solver is not None
        }

    def __bool__(self) -> bool:
        return bool(self._states)

    @property
    def prepared(self) -> bool:
        """Whether it knows the run."""
        return self._facts is not None

    def at_work(self, program: str) -> bool:
        """Whether any is in the program whose noise a run has found."""
        return any(guard.calibrated and program in guard.programs for guard in self._plan.guards.values())

    @property
    def noisy(self) -> bool:
        """Whether any adds noise."""
        guards = self._plan.guards.values()
        return any(guard.solver or any(d.kind == "normal" for d in guard.draws) for guard in guards)

    @property
    def calibrated(self) -> bool:
        """Whether what any lets through is counted."""
        return any(guard.calibrated for guard in self._plan.guards.values())

    # --- before the first step --------------------------------------------------------------------

    def prepare(self, facts: Facts) -> None:
        """Calibrates noise and draws what is drawn once.

        Raises:
            Failure: VFL0672, the ε that was declared is less than the noise asked for spends;
                VFL0673, no noise is enough; VFL0678, the library that computes it is missing.
        """
        self._facts = facts
        for name, guard in self._plan.guards.items():
            state = self._states[name]
            state.epochs = facts.participations
            if guard.calibrated:
                state.noise = noise_of(guard.options, guard.releases, facts, guard.where)
            for draw in guard.draws:
                if draw.kind != "normal":
                    state.kept[draw.id] = self._first(draw, facts.rows)

    def _first(self, draw: Draw, rows: int) -> Array:
        shape = (rows,) if draw.width is None else (rows, draw.width)
        if draw.kind == "memory":
            return np.zeros(shape, self._plan.precision)
        return self._noise.shifts(rows, draw.keep, draw.classes).reshape(shape).astype(self._dtype(draw))

    def _dtype(self, draw: Draw) -> str:
        return "int32" if draw.dtype == "int" else self._plan.precision

    def take(self, drawn: Mapping[str, Array]) -> None:
        """Takes what a party has drawn for its rows before, by draw, [rows] each."""
        for name, guard in self._plan.guards.items():
            kept = self._states[name].kept
            for draw in guard.draws:
                if draw.id in drawn:
                    kept[draw.id] = drawn[draw.id].reshape(kept[draw.id].shape).astype(self._dtype(draw))

    def settings(self) -> dict[str, dict[str, Any]]:
        """What holds for the whole run, by guard: saved before the first step."""
        return {
            name: {"noise": s.noise, "epochs": s.epochs, "resumed": s.resumed}
            for name, s in self._states.items()
        }

    def drawn(self) -> dict[str, Array]:
        """What was drawn once, [rows, …] by draw, and the noise's secret, uint8 [n]: saved before step 1."""
        secret = {} if self.replay is None else {SECRET_NAME: np.frombuffer(self.replay.secret, np.uint8)}
        return self._kept("shift") | secret

    def memories(self) -> dict[str, Array]:
        """What later steps need of those so far, [rows, …] by name: part of a checkpoint.

        What messages have left out, noise that a batch of one class gets, and what was heard.
        """
        found = self._kept("memory")
        for name, solver in self._solving.items():
            found |= {f"{name}.{part}": array for part, array in solver.memory().items()}
        if self.replay is not None:
            found[HEARD] = np.frombuffer(self.replay.chain, np.uint8)
        return found

    def _kept(self, kind: str) -> dict[str, Array]:
        return {
            draw.id: self._states[name].kept[draw.id]
            for name, guard in self._plan.guards.items()
            for draw in guard.draws
            if draw.kind == kind and draw.id in self._states[name].kept
        }

    def counts(self) -> dict[str, dict[str, int]]:
        """Steps and rows so far, by guard: part of a checkpoint."""
        found = {name: {"steps": s.steps, "rows": s.rows} for name, s in self._states.items()}
        for name, solver in self._solving.items():
            found[name] |= solver.counts()
        return found

    def settle(self, settings: Mapping[str, Any]) -> None:
        """Takes up the noise of a run that is over, for a pass of evaluation or prediction."""
        for name, guard in self._plan.guards.items():
            state = self._states[name]
            state.noise = settings.get(name, {}).get("noise")
            if guard.calibrated and state.noise is None:
                raise lost(name)

    def silence(self) -> None:
        """Feeds zeros for noise: for whoever computes what an attacker can compute, and sends nothing."""
        self._silent = True

    def restore(self, facts: Facts, settings: Mapping[str, Any], drawn: Mapping[str, Array]) -> None:
        """Goes on with the noise and the draws, [rows, …] by draw, of a run that has begun.

        Raises:
            Failure: VFL0671, the noise was calibrated for fewer epochs than the run shall have now;
                VFL0621, what was saved does not fit.
        """
        self._facts, self._restored = facts, True
        for name, guard in self._plan.guards.items():
            state, saved = self._states[name], settings.get(name, {})
            state.noise, state.epochs = saved.get("noise"), int(saved.get("epochs", 0))
            state.resumed = int(saved.get("resumed", 0))
            if guard.calibrated and state.noise is None:
                raise lost(name)
            if guard.options.get("epsilon") and guard.calibrated and facts.participations > state.epochs:
                raise Failure(
                    "VFL0671",
                    f"the noise of this run is enough for {state.epochs} epochs, "
                    f"not for {facts.participations}",
                    "start again with the full number of epochs: noise that was sent cannot be increased",
                    guard.where,
                )
            for draw in guard.draws:
                if draw.kind == "memory":
                    state.kept[draw.id] = self._first(draw, facts.rows)
                elif draw.kind == "shift":
                    state.kept[draw.id] = fitting(drawn, draw.id, self._first(draw, facts.rows))

    def bind(self, terms: Mapping[str, Any], drawn: Mapping[str, Array] | None = None) -> NoiseReplay | None:
        """Makes noise from a secret and what is heard: a new one, or that of the run that has `drawn`.

        `terms` are all that bits depend on besides; `drawn` is as `self.drawn` gave it, [rows, …]. None where
        there is no noise. VFL0621 where the secret is lost.
        """
        if self.noisy and self._facts is not None:
            fresh = np.frombuffer(secrets.token_bytes(SECRET), np.uint8)
            secret = fresh if drawn is None else fitting(drawn, SECRET_NAME, fresh)
            self.replay = NoiseReplay(secret.tobytes(), terms, self._facts)
        return self.replay

    def resume(self, counts: Mapping[str, Mapping[str, int]], memories: Mapping[str, Array]) -> None:
        """Takes up the counts, and the memories [rows, …], of a checkpoint; VFL0621 where they do not fit."""
        if self._states and not self._restored:
            raise lost(next(iter(self._states)))
        for name, state in self._states.items():
            state.steps = int(counts.get(name, {}).get("steps", 0))
            state.rows = int(counts.get(name, {}).get("rows", 0))
        for name, guard in self._plan.guards.items():
            for draw in guard.draws:
                if draw.kind == "memory":
                    kept = self._states[name].kept
                    kept[draw.id] = fitting(memories, draw.id, kept[draw.id]).copy()
        for name, solver in self._solving.items():
            head = f"{name}."
            own = {p.removeprefix(head): each for p, each in memories.items() if p.startswith(head)}
            solver.restore(own, counts.get(name, {}))
        if self.replay is not None:
            chain = fitting(memories, HEARD, np.frombuffer(self.replay.chain, np.uint8))
            self.replay.resume(chain.tobytes(), max(state.steps for state in self._states.values()))
