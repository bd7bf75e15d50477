"""The protections of one place at work: fed, carried out, counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from vflc_common.arrays import Array, Indices
from vflc_common.plugins import Plugin

from vflc_runtime.bundle.plan import PlacePlan
from vflc_runtime.bundle.plan_guards import Draw, Guard
from vflc_runtime.engines.engine import StepRunner
from vflc_runtime.errors import Failure
from vflc_runtime.protect.applied import DEFECT, entry
from vflc_runtime.protect.noise import Noise
from vflc_runtime.protect.states import States


class Guards(States):
    """All guards of a place; a place without any has an empty one."""

    def __init__(self, plan: PlacePlan, noise: Noise | None = None, plugins: Sequence[Plugin] = ()) -> None:
        super().__init__(plan, noise, plugins)
        steps = plan.programs.items()
        self._due = {program: [s.target for s in run if s.do == "protect"] for program, run in steps}

    # --- at every step --------------------------------------------------------------------------------

    def begin(self, program: str) -> None:
        """A program begins; a step that did not come to its end is forgotten."""
        for state in self._states.values():
            state.runs = 0
        if self.replay is not None:
            self.replay.begin(program)

    def hear(self, edge: str, values: Array) -> None:
        """Takes note of what came by an edge, [rows, …]."""
        if self.replay is not None:
            self.replay.hear(edge, values)

    def apply(self, name: str, engine: StepRunner, rows: int, indices: Indices | None) -> None:
        """Feeds a guard for a batch of `rows` rows, which are the rows `indices` [rows] of the data.

        Raises:
            Failure: VFL0674, a label is none of the classes.
        """
        guard, state = self._plan.guards[name], self._states[name]
        noise = self._noise if self.replay is None else self.replay.noise(guard, state.runs)
        for draw in guard.draws:
            engine.put(draw.id, self._fed(guard, draw, rows, indices, noise))
        if guard.answers and guard.reads is not None:
            _check_labels(guard, engine.get(guard.reads))
        if guard.solver is not None:
            self._solve(guard, engine, rows, noise)
        state.runs += 1

    def count_again(self, name: str) -> None:
        """Counts that the rows of a guard send once more."""
        self._states[name].resumed += 1

    def _fed(self, guard: Guard, draw: Draw, rows: int, indices: Indices | None, noise: Noise) -> Array:
        state = self._states[guard.id]
        if draw.kind != "normal":
            if indices is None or draw.id not in state.kept:
                raise ValueError(f"guard {guard.id!r} keeps numbers for rows: prepare it, and say which rows")
            return state.kept[draw.id][indices]
        width = () if draw.width is None else (draw.width,)
        shape = width if draw.once else (rows, *width)
        if self._silent:
            return np.zeros(shape, self._plan.precision)
        scale = draw.scale
        if scale is None:
            if state.noise is None:
                raise ValueError(f"the noise of guard {guard.id!r} is not calibrated: prepare it")
            scale = state.noise * guard.number("clip")
        return (noise.normal(shape) * scale).astype(self._plan.precision)

    def _solve(self, guard: Guard, engine: StepRunner, rows: int, noise: Noise) -> None:
        parts = [engine.get(value) for value in guard.before]
        joint = np.concatenate([part.reshape(rows, -1) for part in parts], axis=1)
        assert guard.reads is not None, "read_plan has checked it"
        noisy = self._solving[guard.id](joint, engine.get(guard.reads), noise)
        start = 0
        for value, part in zip(guard.after, parts, strict=True):
            width = part.size // max(rows, 1)
            engine.put(value, noisy[:, start : start + width].reshape(part.shape))
            start += width

    def finish(self, program: str, engine: StepRunner, rows: int, indices: Indices | None) -> None:
        """Keeps what rows `indices` [rows] are owed, and checks that every guard of the program ran once.

        Raises:
            Failure: VFL0670, one did not.
        """
        due = self._due.get(program, [])
        for name, state in self._states.items():
            if state.runs != due.count(name):
                raise Failure(
                    "VFL0670",
                    f"protection {name!r} ran {state.runs} times in a step instead of {due.count(name)}",
                    "this is a bug in vflc: please report it; do not use what this run has sent",
                    self._plan.guards[name].where,
                    DEFECT,
                )
            if program == "train" and state.runs:
                state.steps += 1
                state.rows += rows
            state.runs = 0
        for name in due:
            for draw in self._plan.guards[name].draws:
                if draw.kept is not None and indices is not None:
                    self._states[name].kept[draw.id][indices] = engine.get(draw.kept)
        if self.replay is not None:
            self.replay.finish()

    # --- what ran ---------------------------------------------------------------------------------------

    def report(self, edges: Mapping[str, tuple[str, ...]], steps: int) -> list[dict[str, Any]]:
        """What was applied, for `metrics.json`.

        Args:
            edges: ids of the edges that leave this place, with the guards that the manifest has for them.
            steps: of the run so far.

        Raises:
            Failure: VFL0670, a guard did not run in every step.
        """
        return [
            entry(
                guard,
                self._states[guard.id],
                [edge for edge, names in edges.items() if guard.id in names],
                steps,
                self._plan.place,
                self._facts,
            )
            | (dict(self._solving[guard.id].counts()) if guard.id in self._solving else {})
            for guard in self._plan.guards.values()
        ]


def _check_labels(guard: Guard, labels: Array) -> None:
    classes = len(guard.options.get("prior") or ()) or guard.draws[0].classes
    wrong = (labels < 0) | (labels >= classes) | (labels != np.floor(labels))
    if wrong.any():
        raise Failure(
            "VFL0674",
            f"label {guard.reads} holds {labels[wrong][0]:g}, but randomised response draws one of the "
            f"{classes} classes from 0 to {classes - 1}",
            "make it a class: `label x = column > 3`, or `label x = column -> vocab(…)`",
            guard.where,
        )
