"""Does a plan hold together, with itself and with the manifest? VFL0613 where not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from vflc_common.metrics import METRICS, metric_use
from vflc_common.words import FIT

from vflc_runtime.bundle.columns import check_columns
from vflc_runtime.bundle.manifest import Manifest
from vflc_runtime.bundle.plan import (
    DenseUpdate,
    Optimizer,
    PlacePlan,
    Plan,
    RowsUpdate,
    Step,
    Weight,
    WeightArray,
)
from vflc_runtime.bundle.plan_rows import CatchUp, Matrix, Newest, Product, Sum
from vflc_runtime.bundle.plugins import load
from vflc_runtime.bundle.protections import check_guard
from vflc_runtime.bundle.reading import damaged


def check_plan(plan: Plan, manifest: Manifest) -> None:
    """Checks names, sizes and references; what passes can be run without looking again."""
    _check_arrays(plan)
    if {*plan.tables} != plan.encoders.keys():
        raise damaged("plan.json: other tables than in encoders.json")
    _check_held_out(plan, manifest)
    for graph, entry in plan.graphs.items():
        if entry.gradients is None and str(entry.file) not in plan.contents.files:
            raise damaged(f"{plan.graph_path(graph)} is missing")
        if entry.outside and (len(entry.inputs), len(entry.outputs)) != (len(entry.outside.inputs), 1):
            raise damaged(f"plan.json: graph {graph!r} has other inputs or outputs than its file")
    _check_updates(plan)
    _check_guards(plan, manifest)
    for name in plan.programs:
        _PlaceFlow(plan, manifest, name).check()


def _check_held_out(plan: Plan, manifest: Manifest) -> None:
    """Who decides which rows are kept for validation is there, and has the column."""
    kept = plan.training.held_out
    if kept is None:
        return
    if kept.party in plan.tables:
        columns = [column["name"] for column in plan.encoders[kept.party]["columns"]]
        if kept.column not in columns:
            raise damaged(f"plan.json: {kept.party!r} has no column {kept.column!r} to validate by")
    elif kept.party not in manifest.places:
        raise damaged(f"plan.json: rows are kept for validation by {kept.party!r}, which is no place")


def check_head(plan: PlacePlan, manifest: Manifest, place: str) -> None:
    """What holds for plans of all kinds: it is this place's, and of this bundle."""
    if plan.place != place:
        raise damaged(f"{plan.contents.folder / 'plan.json'} is the plan of {plan.place!r}")
    if (plan.model, plan.precision) != (manifest.model, manifest.precision):
        raise damaged(f"plan.json of {place!r} belongs to another bundle than manifest.json")
    _check_metrics(plan, manifest)
    check_columns(plan.contents, manifest.plugins)


def _check_metrics(plan: PlacePlan, manifest: Manifest) -> None:
    """Metrics are known, with the parameters and groups that they take."""
    uses = [metric_use(written) for written in plan.measures]
    load(METRICS, [use.name for use in uses], manifest.plugins)
    for use in uses:
        if (mistake := use.mistake()) is not None:
            raise damaged(f"plan.json of {plan.place!r}: the metric {use} {mistake}")


def _check_arrays(plan: Plan) -> None:
    """Weights cover every array exactly, each row once."""
    inside: dict[str, list[Weight]] = {name: [] for name in plan.arrays}
    for weight in plan.weights.values():
        if weight.array not in inside:
            raise damaged(
                f"plan.json: weight {weight.name!r} is part of {weight.array!r}, which is not an array"
            )
        part = weight.slice
        if part and not (weight.shape and 0 <= part.start <= part.rows - weight.shape[0]):
            raise damaged(f"plan.json: weight {weight.name!r} has rows that {part.of!r} does not have")
        inside[weight.array].append(weight)
    for name, weights in inside.items():
        array = plan.arrays[name]
        weights.sort(key=lambda weight: weight.offset)
        if not (_is_stack(array, weights) if array.table else _is_single(array, weights)):
            raise damaged(
                f"plan.json: the weights of array {name!r} do not fill its shape {list(array.shape)}"
            )


def _is_single(array: WeightArray, weights: list[Weight]) -> bool:
    return len(weights) == 1 and weights[0].shape == array.shape and weights[0].offset == 0


def _is_stack(array: WeightArray, weights: list[Weight]) -> bool:
    row = 0
    for weight in weights:
        if weight.offset != row or not weight.shape or weight.shape[1:] != array.shape[1:]:
            return False
        row += weight.shape[0]
    return bool(array.shape) and row == array.shape[0]


def _check_updates(plan: Plan) -> None:
    updated: set[str] = set()
    for update in plan.updates.values():
        optimizer = plan.optimizers.get(update.optimizer)
        if optimizer is None:
            raise damaged(
                f"plan.json: update {update.id!r} names optimizer {update.optimizer!r}, which is not there"
            )
        names = update.arrays if isinstance(update, DenseUpdate) else (update.array,)
        for name in names:
            if name not in plan.arrays or name in updated:
                raise damaged(f"plan.json: update {update.id!r} changes {name!r}, no array or changed twice")
            updated.add(name)
        if isinstance(update, DenseUpdate):
            if sum(plan.arrays[name].size for name in names) != update.size:
                raise damaged(f"plan.json: update {update.id!r} has not the size of its arrays")
        elif not plan.arrays[update.array].table or len(plan.arrays[update.array].shape) != 2:
            raise damaged(
                f"plan.json: update {update.id!r} changes rows of {update.array!r}, which is not a table"
            )
    for optimizer in plan.optimizers.values():
        _check_optimizer(plan, optimizer)
    _check_fits(plan, updated | set(plan.assigns))
    if updated & set(plan.assigns) or not set(plan.assigns) <= set(plan.arrays):
        raise damaged("plan.json: an assign names no array, or one that an update changes")


def _check_fits(plan: Plan, changed: set[str]) -> None:
    """A table that is fitted is one of its own, which nothing else changes."""
    for fit in plan.fits:
        weight = plan.weights.get(fit.weight)
        alone = weight is not None and weight.array == weight.name and weight.name not in changed
        if not alone or weight is None or weight.trainable or weight.shape[1:] != (1,):
            raise damaged(f"plan.json: {fit.weight!r} is no table to fit")
        if not fit.smoothing > 0 or FIT not in plan.programs or fit.label not in plan.inputs:
            raise damaged(f"plan.json: it does not say how to fit {fit.weight!r}")
    if len({fit.weight for fit in plan.fits}) < len(plan.fits):
        raise damaged("plan.json: a table is fitted twice")


def _check_optimizer(plan: Plan, optimizer: Optimizer) -> None:
    """Its graphs take and give what an engine feeds them and stores."""
    stored = {"weight", *(slot.name for slot in optimizer.slots)}
    made = {f"new.{name}" for name in stored}
    fits = _has(plan, optimizer.graph, {*stored, "gradient"}, {"step"}, made)
    more = optimizer.catch_up
    if isinstance(more, CatchUp):
        numbers = {f"missed.{each.name}" for each in more.missed}
        fits = fits and len(numbers) == len(more.missed)
        fits = fits and _has(plan, more.graph, stored | numbers, set(), made)
        of = {each.of for each in more.missed if isinstance(each, Product | Newest | Sum)}
        of |= {name for each in more.missed if isinstance(each, Matrix) for row in each.of for name in row}
        of |= {each.kept for each in more.missed if isinstance(each, Sum) and each.kept}
        if of or more.series is not None:
            fits = fits and more.series is not None and _has(plan, more.series, set(), {"step"}, of)
    if not fits:
        raise damaged(f"plan.json: optimizer {optimizer.id!r} has no fitting update graphs")


def _has(plan: Plan, name: str, inputs: set[str], more: set[str], outputs: set[str]) -> bool:
    """Whether there is a graph with these inputs, maybe `more` of them, and outputs."""
    graph = plan.graphs.get(name)
    return graph is not None and inputs <= {*graph.inputs} <= inputs | more and {*graph.outputs} == outputs


def _check_guards(plan: Plan, manifest: Manifest) -> None:
    """Every protection that the manifest promises of an edge from here is a step of training.

    Of the other programs those are that the guard says.
    """
    for program, run in plan.programs.items():
        steps = sorted(step.target for step in run if step.do == "protect")
        if steps != sorted(name for name, guard in plan.guards.items() if program in guard.programs):
            raise damaged(f"plan.json of {plan.place!r}: not every guard is one step of program {program!r}")
    if any("train" not in guard.programs for guard in plan.guards.values()):
        raise damaged(f"plan.json of {plan.place!r}: not every guard is one step of training")
    runs = [step.target for step in plan.programs.get("train", ()) if step.do == "run"]
    read = {name for graph in runs if graph in plan.graphs for name in plan.graphs[graph].inputs}
    foreign = {each.name for each in manifest.plugins if each.kind == "protections"}
    for guard in plan.guards.values():
        check_guard(guard, plan.place, manifest.protections.get(guard.id), guard.mechanism in foreign)
        if guard.solver is not None and guard.reads not in plan.inputs:
            raise damaged(f"plan.json: guard {guard.id!r} reads {guard.reads!r}, which is no input")
        for draw in guard.draws:
            if draw.id not in read:
                raise damaged(f"plan.json: nothing in training reads {draw.id!r} of guard {guard.id!r}")
    for edge in manifest.edges.values():
        if edge.aside:
            continue
        value = edge.value
        for name in reversed(edge.protections) if edge.sender == plan.place else ():
            found = plan.guards.get(name)
            if found is None or value not in found.after or len(found.before) != len(found.after):
                raise damaged(
                    f"plan.json of {plan.place!r}: edge {edge.id!r} has not the protection {name!r}"
                )
            value = found.before[found.after.index(value)]


P = TypeVar("P", bound=PlacePlan)


class ProgramCheck(Generic[P]):
    """Follows one program and knows which values exist at every step; a kind of plan adds its own steps.

    Args:
        plan: whose program it is.
        manifest: declares what crosses.
        program: its name.
        known: values that are there before the first step.
    """

    def __init__(self, plan: P, manifest: Manifest, program: str, known: Iterable[str]) -> None:
        self.plan, self.manifest, self.program, self.known = plan, manifest, program, set(known)
        self.messages: set[str] = set()

    def check(self) -> None:
        """VFL0613 where a step needs what is not there yet, or is none that this kind of place takes."""
        for step in self.plan.programs[self.program]:
            take = getattr(self, f"_{step.do}", None)
            if take is None:
                raise damaged(f"plan.json of {self.plan.place!r}: this place does not {step.do}")
            take(step)

    def _need(self, names: Iterable[str], who: str) -> None:
        for name in names:
            if name not in self.known:
                raise damaged(
                    f"plan.json of {self.plan.place!r}, program {self.program!r}: "
                    f"{who} needs {name!r}, which is not there yet"
                )

    def _message(self, step: Step, end: str) -> tuple[str, ...]:
        message = self.manifest.messages.get(step.target)
        place = self.plan.place
        if (
            message is None
            or self.program not in message.programs
            or (message.sender if end == "send" else message.receiver) != place
            or step.target in self.messages
        ):
            raise damaged(
                f"plan.json of {place!r}: program {self.program!r} may not {end} {step.target!r}: "
                "the manifest does not declare it"
            )
        self.messages.add(step.target)
        edges = (self.manifest.edges[edge] for edge in message.edges)
        return tuple(edge.value for edge in edges if not edge.aside)

    def _send(self, step: Step) -> None:
        self._need(self._message(step, "send"), f"message {step.target!r}")

    def _receive(self, step: Step) -> None:
        self.known.update(self._message(step, "receive"))


class _PlaceFlow(ProgramCheck[Plan]):
    """That of a place of a model over parties."""

    def __init__(self, plan: Plan, manifest: Manifest, program: str) -> None:
        fed = {i.id for i in plan.inputs.values() if not (program == "predict" and i.label)}
        super().__init__(plan, manifest, program, {*plan.arrays, *plan.randoms, *fed})
        self.caught_up: set[str] = set()

    def check(self) -> None:
        super().check()
        report = self.plan.reports[self.program]
        wanted = [loss.value for loss in report.losses] + [value for _, value in report.predictions]
        wanted += [fit.counts for fit in self.plan.fits if self.program == FIT]
        for metric in self.plan.metrics:
            wanted += metric.programs.get(self.program, ())
        self._need(wanted, "the report")

    def _run(self, step: Step) -> None:
        graph = self.plan.graphs.get(step.target)
        if graph is None:
            raise damaged(f"plan.json: program {self.program!r} runs {step.target!r}, which is no graph")
        self._need(graph.inputs, f"graph {step.target!r}")
        self.known.update(graph.outputs)

    def _protect(self, step: Step) -> None:
        guard = self.plan.guards.get(step.target)
        if guard is None:
            raise damaged(f"plan.json: program {self.program!r} names {step.target!r}, which is no guard")
        self.known.update(draw.id for draw in guard.draws)
        if guard.solver is not None:
            self._need(guard.before, f"guard {guard.id!r}")
            self.known.update(guard.after)

    def _catch_up(self, step: Step) -> None:
        update = self.plan.updates.get(step.target)
        if not isinstance(update, RowsUpdate) or self.program != "train":
            raise damaged(f"plan.json: program {self.program!r} catches up with {step.target!r}, no rows")
        self._need(update.reads or (), f"update {update.id!r}")
        self.caught_up.add(update.id)

    def _update(self, step: Step) -> None:
        update = self.plan.updates.get(step.target)
        if update is None or self.program != "train":
            raise damaged(
                f"plan.json: program {self.program!r} makes update {step.target!r}, which is not there"
            )
        if isinstance(update, DenseUpdate):
            self._need((update.gradient,), f"update {update.id!r}")
            return
        if self.plan.optimizers[update.optimizer].catch_up and update.id not in self.caught_up:
            raise damaged(f"plan.json: the rows of update {update.id!r} do not catch up before they change")
        self._need([name for pair in update.gradients for name in pair], f"update {update.id!r}")

    def _assign(self, step: Step) -> None:
        if step.target not in self.plan.assigns or self.program != "train":
            raise damaged(
                f"plan.json: program {self.program!r} assigns {step.target!r}, which is not declared"
            )
        self._need((self.plan.assigns[step.target],), f"assign {step.target!r}")
