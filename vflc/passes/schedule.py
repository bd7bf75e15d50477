"""Each place's programs: which subgraph runs when, what is sent, received and updated.

In: a graph with its edges and messages. Out: `schedules`. A stage is all that a place can compute
between two receives; what a later stage needs is kept, nothing is computed twice. Rows of tables
that may have missed steps catch up before they are read: the ids that name them are a stage before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import ClassVar

from vflc_common.words import Program

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.graph import PLACELESS, STEPS, Graph, Node
from vflc.ir.model import Message, PlaceSchedule, Stage, Step, Update
from vflc.ir.outside import OP, graph_name
from vflc.ir.release import Guard
from vflc.ir.stages import Partitioned, Scheduled
from vflc.ops.penalised import makes_up
from vflc.ops.reading import rows_read
from vflc.ops.source import INPUTS
from vflc.passes.levels import levels
from vflc.passes.properties import CUT, GRAPH, SCHEDULED


class Scheduling:
    """The pass."""

    name: ClassVar = "schedule"
    requires: ClassVar = (*GRAPH, CUT)
    ensures: ClassVar = (SCHEDULED,)

    def __call__(self, model: Partitioned, collector: DiagnosticCollector) -> Scheduled:
        schedules = []
        for place in model.places:
            stages: dict[Program, tuple[Stage, ...]] = {}
            programs: dict[Program, tuple[Step, ...]] = {}
            for program in model.programs:
                stages[program], programs[program] = _Planner(model, place, program).plan()
            schedules.append(PlaceSchedule(place, programs, stages))
        return Scheduled.of(model, schedules=tuple(schedules))


At = tuple[int, bool]
"""When a stage runs: its level, and whether it comes after the rows that are read there have caught up."""


class _Planner:
    """Plans one program at one place."""

    def __init__(self, model: Partitioned, place: str, program: Program) -> None:
        self.model, self.place, self.program = model, place, program
        self.graph: Graph = model.graph_of(program)
        self.needed = self.graph.ancestors(model.roots(program))
        self.depth = levels(self.graph)
        self.nodes_of = {edge.id: edge.node for edge in model.edges}
        mine = [m for m in model.messages if program in m.programs]
        self.sends = [m for m in mine if m.source == place]
        self.receives = [m for m in mine if m.target == place]
        self.guards = [g for g in model.guards if g.place == place and self._runs(g)]
        self.steps = [n for n in self.graph if n.op in STEPS and n.place == place and n.id in self.needed]
        self.late = self._missing_steps() if program == "train" else {}
        self.ids = self._ids_read() if program == "train" else frozenset()

    def _runs(self, guard: Guard) -> bool:
        """Whether a protection is at work in the program: in training always."""
        if self.program == "train":
            return True
        return self.program in guard.programs and not self.needed.isdisjoint(guard.after)

    def _missing_steps(self) -> dict[int, list[Update]]:
        """The updates whose rows must catch up, by the level at which they are first read."""
        rules = {rule.id: rule for rule in self.model.train.optimizers}
        found: dict[int, list[Update]] = defaultdict(list)
        for update in self.model.updates:
            if update.place != self.place or update.gradient or not makes_up(rules[update.optimizer]):
                continue
            readers = [n for n in self.graph if update.arrays[0] in n.inputs and n.id in self.needed]
            level = min(self.depth[n.id] if n.place == self.place else 0 for n in readers)
            assert all(self.depth[ids] <= level for ids in rows_read(self.model, update) or ())
            found[level].append(update)
        return found

    def _ids_read(self) -> frozenset[str]:
        """What the updates of tables ask for the rows that the batch reads, a prediction's too."""
        updates = [u for u in self.model.updates if u.place == self.place and not u.gradient]
        return frozenset(name for update in updates for name in rows_read(self.model, update) or ())

    def plan(self) -> tuple[tuple[Stage, ...], tuple[Step, ...]]:
        groups = self._groups()
        stages = {at: self._stage(at, nodes, groups) for at, nodes in groups.items()}
        sends, receives = defaultdict(list), defaultdict(list)
        for message in self.sends:
            sends[self._level(message)].append(message.id)
        for message in self.receives:
            receives[self._level(message) + 1].append(message.id)
        guards = defaultdict(list)
        outside = defaultdict(list)
        for node in self.steps:
            if node.op == OP:
                outside[self.depth[node.id]].append(node)
        steps: list[Step] = []
        for guard in self.guards:
            if guard.inside or guard.masks:
                steps.append(Step("protect", guard.id))
            else:
                guards[self.depth[guard.after[0]]].append(guard)
        for level in sorted({*(at for at, _ in stages), *sends, *receives, *guards, *outside, *self.late}):
            steps += [Step("receive", name) for name in receives[level]]
            if (level, False) in stages:
                steps.append(Step("run", stages[level, False].name))
            steps += [Step("catch_up", update.id) for update in self.late.get(level, ())]
            if (level, True) in stages:
                steps.append(Step("run", stages[level, True].name))
            steps += [Step("run", graph_name(node.id)) for node in outside[level]]
            for guard in guards[level]:
                steps.append(Step("protect", guard.id))
                if guard.graph is not None:
                    steps.append(Step("run", guard.id))
            steps += [Step("send", name) for name in sends[level]]
        if self.program == "train":
            steps += [Step("update", u.id) for u in self.model.updates if u.place == self.place]
            steps += [
                Step("assign", weight)
                for weight, _ in self.model.assigns
                if self.graph[weight].place == self.place
            ]
        return tuple(stages[at] for at in sorted(stages)), tuple(steps)

    def _level(self, message: Message) -> int:
        return self.depth[self.nodes_of[message.edges[0]]]

    def _groups(self) -> dict[At, list[Node]]:
        """The place's own nodes by when they run."""
        own = [
            n
            for n in self.graph
            if n.place == self.place and n.id in self.needed and n.op not in INPUTS and n.op not in PLACELESS
        ]
        level = self._late(own)
        ids = {
            at: self.graph.ancestors(
                name for update in updates for name in rows_read(self.model, update) or ()
            )
            for at, updates in self.late.items()
        }
        groups: dict[At, list[Node]] = defaultdict(list)
        for node in own:
            groups[level[node.id], node.id not in ids.get(level[node.id], ())].append(node)
        return dict(sorted(groups.items()))

    def _late(self, own: list[Node]) -> dict[str, int]:
        """When each node runs: at its depth, or where nobody waits for it, with what reads it.

        Forward values of training are made at once, so that a place works while others do. What
        only backward needs is made there, so that less is kept; inference has no such gap.
        """
        sent = {self.nodes_of[edge]: self._level(message) for message in self.sends for edge in message.edges}
        last = max((self.depth[node.id] for node in own), default=0)
        users = self.graph.users()
        level = {node.id: self.depth[node.id] for node in self.steps}
        for node in reversed(own):
            if self.program == "train" and node.phase == "forward":
                level[node.id] = self.depth[node.id]
                continue
            readers = [level[user.id] for user in users[node.id] if user.id in level]
            level[node.id] = min([*readers, sent.get(node.id, last)])
        return level

    def _stage(self, at: At, nodes: list[Node], groups: Mapping[At, list[Node]]) -> Stage:
        inside = {node.id for node in nodes}
        inputs = [
            name
            for node in nodes
            for name in node.inputs
            if name not in inside and self.graph[name].op not in PLACELESS
        ]
        others = [node for other, group in groups.items() if other != at for node in group]
        elsewhere = {name for node in others for name in node.inputs}
        elsewhere |= {name for node in self.steps for name in node.inputs}
        sent = {self.nodes_of[edge] for message in self.sends for edge in message.edges}
        wanted = elsewhere | sent | self.ids | set(self.model.roots(self.program))
        outputs = tuple(node.id for node in nodes if node.id in wanted)
        return Stage(
            self._name(at, groups),
            tuple(n.id for n in nodes),
            tuple(dict.fromkeys(inputs)),
            outputs,
        )

    def _name(self, at: At, groups: Mapping[At, list[Node]]) -> str:
        bases = {other: self._base(other, nodes) for other, nodes in groups.items()}
        index = [other for other, base in bases.items() if base == bases[at]].index(at)
        return bases[at] if index == 0 else f"{bases[at]}_{index + 1}"

    def _base(self, at: At, nodes: list[Node]) -> str:
        if self.program != "train":
            return self.program
        if not at[1]:
            return "ids"
        return "backward" if any(node.phase == "backward" for node in nodes) else "forward"
