"""Which gradients a place's training asks of TensorFlow, and when: seeds, targets, steps.

vflc's own backward nodes say only which gradients exist and what they are called. Their values
come from a tape over the forward models: seeded by the losses and by the gradients received so
far, taken at the values that crossed and at the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, field

from vflc.ir.graph import Graph
from vflc.ir.model import PlaceSchedule, Step, Update
from vflc.ir.stages import Scheduled


class GradientGraph(Struct):
    """One use of the tape, as it stands in the plan.

    Args:
        crossing: (id of the gradient, the received value it is of).
        dense: (id of the flat gradient, its weights in order).
        rows: the updates of tables.
        seeds: the losses' coefficients, and for other values the gradients received of them.
        received: of weights that other places read, the gradients that came back.
    """

    name: str
    crossing: list[tuple[str, str]] = field(default_factory=list)
    dense: list[Update] = field(default_factory=list)
    rows: list[Update] = field(default_factory=list)
    seeds: list[dict[str, Any]] = field(default_factory=list)
    received: dict[str, list[str]] = field(default_factory=dict)

    @property
    def sources(self) -> list[str]:
        """The values and weights that gradients are taken of."""
        weights = [weight for update in (*self.dense, *self.rows) for weight in update.arrays]
        return [*(value for _, value in self.crossing), *weights]

    def entry(self) -> dict[str, Any]:
        """The graph as in plan.json."""
        ids = [name for update in self.rows for name, _ in update.pairs]
        inputs = [seed["value"] for seed in self.seeds]
        inputs += [seed["gradient"] for seed in self.seeds if "gradient" in seed]
        inputs += [value for _, value in self.crossing]
        inputs += [name for names in self.received.values() for name in names]
        outputs = [name for name, _ in self.crossing] + [str(update.gradient) for update in self.dense]
        outputs += [name for update in self.rows for name in row_ids(update.id)]
        return {
            "file": None,
            "inputs": list(dict.fromkeys(inputs + ids)),
            "outputs": outputs,
            "gradients": {
                "seeds": self.seeds,
                "crossing": [{"gradient": name, "value": value} for name, value in self.crossing],
                "dense": [{"gradient": u.gradient, "weights": list(u.arrays)} for u in self.dense],
                "rows": [_rows_entry(update) for update in self.rows],
                "received": self.received,
            },
        }


def row_ids(update_id: str) -> tuple[str, str]:
    """The values that a rows update reads here: the distinct rows and their gradient."""
    return f"{update_id}.ids", f"{update_id}.gradient"


def _rows_entry(update: Update) -> dict[str, Any]:
    ids, gradient = row_ids(update.id)
    read = list(dict.fromkeys(name for name, _ in update.pairs))
    return {"gradient": gradient, "ids": ids, "weight": update.arrays[0], "read": read}


def private_graph(update_id: str) -> str:
    """The graph that gives an update its gradient where no tape does."""
    return f"{update_id}.private"


def gradient_graphs(
    model: Scheduled, schedule: PlaceSchedule, models: Iterable[str], private: Iterable[str]
) -> tuple[list[Step], list[GradientGraph]]:
    """The training program of a place with the tape's uses in it, and these.

    `models` are the stages that have a forward model; the others do not run. `private` are the graphs of
    updates that need no tape; they run last.
    """
    planner = _Planner(model, schedule, set(models), tuple(private))
    return planner.plan()


class _Planner:
    """Positions are indices into the place's training program."""

    def __init__(
        self, model: Scheduled, schedule: PlaceSchedule, models: set[str], private: tuple[str, ...]
    ) -> None:
        self.private = private
        self.model, self.place = model, schedule.place
        self.graph: Graph = model.graph
        self.models = models
        self.steps = schedule.programs["train"]
        self.ran: dict[str, int] = {}
        stages = {stage.name: stage for stage in schedule.stages["train"]}
        for index, step in enumerate(self.steps):
            if step.do == "run" and step.what in stages:  # the graph of a guard is no stage
                self.ran |= dict.fromkeys(stages[step.what].nodes, index)
        self.came = self._received()
        self.below = _Descendants(self.graph, self.place)

    def _received(self) -> dict[str, tuple[int, str]]:
        """Of every gradient that comes from another place when it does, and what it is of."""
        edges = {edge.id: edge for edge in self.model.edges}
        messages = {message.id: message for message in self.model.messages}
        found: dict[str, tuple[int, str]] = {}
        for index, step in enumerate(self.steps):
            for name in messages[step.what].edges if step.do == "receive" else ():
                edge = edges[name]
                if edge.gradient_of is not None and edge.phase == "backward":
                    found[edge.node] = index, edge.gradient_of
        return found

    def plan(self) -> tuple[list[Step], list[GradientGraph]]:
        runs = [index for index, step in enumerate(self.steps) if step.do == "run"]
        end = next((i for i, s in enumerate(self.steps) if s.do in ("update", "assign")), len(self.steps))
        uses: dict[int, GradientGraph] = {}

        def use(index: int) -> GradientGraph:
            name = f"{self.steps[index].what}.gradients" if index < end else "gradients"
            return uses.setdefault(index, GradientGraph(name))

        for node in self.graph:
            of = node.attrs.get("of")
            if (
                of is not None
                and node.place == self.place
                and node.phase == "backward"
                and node.id in self.ran
            ):
                use(self.ran[node.id]).crossing.append((node.id, of))
        for update in self.model.updates:
            if update.place == self.place and private_graph(update.id) not in self.private:
                ready = max((self._ready(weight) for weight in update.arrays), default=0)
                index = next((i for i in runs if i >= ready and i in uses), end)
                chosen = use(index)
                (chosen.dense if update.gradient else chosen.rows).append(update)
        for index, graph in uses.items():
            self._seed(graph, index)
        return self._program(uses, end), [uses[index] for index in sorted(uses)]

    def _ready(self, source: str) -> int:
        """When everything that flows into the gradient of a value or weight is there."""
        return max((position for position, _ in self._seeds([source], len(self.steps))), default=0)

    def _seeds(self, sources: Sequence[str], until: int) -> list[tuple[int, dict[str, Any]]]:
        """What gradients of the sources start from, as far as it is there at a position."""
        reached = self.below.of(sources)
        found: list[tuple[int, dict[str, Any]]] = []
        for loss in self.model.losses:
            if loss.node in reached and self.ran.get(loss.node, until + 1) <= until:
                seed = {"value": loss.node, "coefficient": float(loss.coefficient)}
                found.append((self.ran[loss.node], seed))
        for gradient, (position, of) in self.came.items():
            if position <= until and of in reached:
                found.append((position, {"value": of, "gradient": gradient}))
        return found

    def _seed(self, graph: GradientGraph, index: int) -> None:
        weights = {weight for update in (*graph.dense, *graph.rows) for weight in update.arrays}
        for _, seed in self._seeds(graph.sources, index):
            if seed["value"] in weights:
                graph.received.setdefault(seed["value"], []).append(seed["gradient"])
            else:
                graph.seeds.append(seed)

    def _program(self, uses: dict[int, GradientGraph], end: int) -> list[Step]:
        steps: list[Step] = []
        for index, step in enumerate(self.steps):
            if index == end:
                steps += [Step("run", uses[end].name)] if end in uses else []
                steps += [Step("run", name) for name in self.private]
            if step.do != "run" or step.what in self.models:
                steps.append(step)
            if index < end and index in uses:
                steps.append(Step("run", uses[index].name))
        return steps


class _Descendants:
    """What forward values of a place depend on, through the place's own values alone."""

    def __init__(self, graph: Graph, place: str) -> None:
        self._users: dict[str, list[str]] = {}
        for node in graph:
            if node.place == place and node.phase == "forward":
                for name in node.inputs:
                    self._users.setdefault(name, []).append(node.id)

    def of(self, sources: Iterable[str]) -> set[str]:
        """The sources and all that is computed from them."""
        found: set[str] = set()
        stack = list(sources)
        while stack:
            name = stack.pop()
            if name not in found:
                found.add(name)
                stack.extend(self._users.get(name, ()))
        return found
