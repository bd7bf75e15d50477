"""Do the programs of a population's places hold together, with the manifest? VFL0613 where not."""

from __future__ import annotations

from typing import TypeVar

from vflc_runtime.bundle.checks import ProgramCheck
from vflc_runtime.bundle.manifest import Manifest
from vflc_runtime.bundle.plan import Step
from vflc_runtime.bundle.population_plan import HubPlan, UsersPlan
from vflc_runtime.bundle.reading import damaged

RUNS = {
    "train": ("rebuild", "client"),
    "evaluate": ("rebuild", "evaluate"),
    "predict": ("rebuild", "predict"),
}
"""What users run in a program; the last of it is what the program is for."""


def check_population(users: UsersPlan, hub: HubPlan, manifest: Manifest) -> None:
    """Checks the programs of both places, and that they mean the same weights."""
    if {weight.name: weight for weight in users.globals} != hub.weights or users.examples != hub.examples:
        raise damaged(f"the plans of {users.place!r} and {hub.place!r} are of other global weights")
    for program in users.programs:
        _UsersFlow(users, manifest, program).check()
    for program in hub.programs:
        _HubFlow(hub, manifest, program).check()
    if set(users.programs) != set(RUNS) or set(hub.programs) != set(RUNS):
        raise damaged(f"{users.place!r} and {hub.place!r} have not the programs {', '.join(RUNS)}")


P = TypeVar("P", UsersPlan, HubPlan)


class _PopulationFlow(ProgramCheck[P]):
    def _only(self, step: Step, due: set[str]) -> None:
        """Receives a message that has values of these alone."""
        before = set(self.known)
        ProgramCheck._receive(self, step)
        if extra := sorted(self.known - before - due):
            raise damaged(f"plan.json of {self.plan.place!r}: it has no use for {', '.join(extra)}")


class _UsersFlow(_PopulationFlow[UsersPlan]):
    """What a user may send: ids of the rows that it asks for, and what training makes of them."""

    def __init__(self, plan: UsersPlan, manifest: Manifest, program: str) -> None:
        super().__init__(plan, manifest, program, {w.ids for w in plan.globals if w.ids})
        self.fed = {*plan.inputs, *(ids.id for ids in plan.ids), *(w.name for w in plan.locals), plan.mask}
        self.ran: list[str] = []

    def _receive(self, step: Step) -> None:
        self._only(step, {weight.name for weight in self.plan.globals})

    def check(self) -> None:
        super().check()
        if self.ran[-1:] != [RUNS[self.program][-1]]:
            raise damaged(
                f"plan.json of {self.plan.place!r}: program {self.program!r} does not end as it must"
            )

    def _run(self, step: Step) -> None:
        plan, name = self.plan, step.target
        graphs = {"rebuild": plan.rebuild.graph, "client": plan.client.graph}
        graph = {**graphs, "evaluate": plan.evaluate, "predict": plan.predict}.get(name)
        if graph is None or name not in RUNS[self.program] or name in self.ran:
            raise damaged(f"plan.json of {plan.place!r}: program {self.program!r} may not run {name!r}")
        self._need([each for each in graph.inputs if each not in self.fed], f"graph {name!r}")
        self.ran.append(name)
        if name == "client":
            self.known.update((plan.examples, *(str(weight.delta) for weight in plan.globals)))


class _HubFlow(_PopulationFlow[HubPlan]):
    """The hub knows the rows of a table to send when users have asked for them."""

    def __init__(self, plan: HubPlan, manifest: Manifest, program: str) -> None:
        super().__init__(plan, manifest, program, {w.name for w in plan.weights.values() if not w.table})

    def _receive(self, step: Step) -> None:
        weights = self.plan.weights.values()
        asked = {str(w.ids) for w in weights if w.ids}
        back = {str(w.delta) for w in weights if not w.ids or w.ids in self.known}
        self._only(step, asked | back | {self.plan.examples})
        self.known.update(w.name for w in weights if w.ids in self.known)

    def _update(self, step: Step) -> None:
        if step.target != "server" or self.program != "train":
            raise damaged(
                f"plan.json: program {self.program!r} makes update {step.target!r}, which is not there"
            )
        changes = [str(weight.delta) for weight in self.plan.weights.values()]
        self._need([*changes, self.plan.examples], f"update {step.target!r}")
