"""What happens between tree and bundle, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from vflc.diagnostics import Diagnostic, DiagnosticCollector, Refused
from vflc.ir.stages import ByMode, Lowered, Partitioned, Scheduled, Vectorised
from vflc.passes.at_one_place import AtOnePlace
from vflc.passes.cut import Cut
from vflc.passes.differentiate import Differentiate
from vflc.passes.disclose import Disclose
from vflc.passes.fuse_tables import FuseTables
from vflc.passes.modes import Modes
from vflc.passes.optimize import Optimize
from vflc.passes.penalise import Penalise
from vflc.passes.place import Placement
from vflc.passes.properties import Property
from vflc.passes.protect.passes import ProtectGradients, ProtectValues, ProtectWeights
from vflc.passes.prune import Prune
from vflc.passes.push_down.push_down import PushDown
from vflc.passes.simplify import Simplify
from vflc.passes.stand_in import StandIn

M = TypeVar("M", bound=Lowered)


class Pass(Protocol):
    """From a model to a model of the same stage or the next; mistakes of the user go to the collector.

    Its parameter says which stage it takes. `requires` and `ensures` are what must hold of the graph before
    it, and what holds from then on.
    """

    @property
    def name(self) -> str: ...

    @property
    def requires(self) -> tuple[Property, ...]: ...

    @property
    def ensures(self) -> tuple[Property, ...]: ...

    def __call__(self, model: Any, collector: DiagnosticCollector) -> Lowered: ...


class Watch(Struct, frozen=True):
    """How passes are looked at.

    Args:
        after: sees the name of each pass and what it made.
        checked: whether what passes require and ensure is looked at, which takes longer.
    """

    after: Callable[[str, Lowered], None] = lambda name, model: None
    checked: bool = False


UNWATCHED = Watch()


class Pipeline(Struct, Generic[M], frozen=True):
    """Passes in their order, and the stage that the last one leads to."""

    passes: tuple[Pass, ...]
    result: type[M]

    def run(
        self,
        model: Lowered,
        collector: DiagnosticCollector,
        watch: Watch = UNWATCHED,
    ) -> M:
        """Runs the passes; stops after one that found a mistake.

        Args:
            model: as lowered.
            collector: of warnings and mistakes.
            watch: how passes are looked at.

        Raises:
            Refused: a pass found a mistake; or passes are checked, and one did not get what it requires or
                does not keep what it ensures, which is a defect in vflc.
        """
        for step in self.passes:
            collector.going()
            if watch.checked:
                _check(model, step.requires, f"before `{step.name}`")
            model = step(model, collector)
            collector.refuse_errors()
            if watch.checked:
                _check(model, step.ensures, f"after `{step.name}`")
            watch.after(step.name, model)
        assert isinstance(model, self.result), "the last pass leads to another stage"
        return model


def _check(model: Lowered, properties: tuple[Property, ...], when: str) -> None:
    found = [f"{each.name}: {breach}" for each in properties for breach in each.breaches(model)]
    if found:
        more = f" (and {len(found) - 1} more)" if found[1:] else ""
        text = f"{when} it does not hold that {found[0]}{more}"
        raise Refused([Diagnostic("VFL0501", text, None, "this is a bug in vflc: please report it")])


def pipeline(
    unsplit: bool = False, fuse: bool = True, protections: bool = True, push_down: bool = True
) -> Pipeline[Scheduled]:
    """The passes of a spec with parties; as `analysis`, and what each place does, step by step."""
    from vflc.passes.schedule import Scheduling

    return Pipeline((*analysis(unsplit, fuse, protections, push_down).passes, Scheduling()), Scheduled)


def analysis(
    unsplit: bool = False, fuse: bool = True, protections: bool = True, push_down: bool = True
) -> Pipeline[Partitioned]:
    """The passes of a spec with parties that may find something: what a check runs.

    Args:
        unsplit: put the whole model at one place, where nothing crosses.
        fuse: make the tables that the same ids read one; else each stays its own.
        protections: carry out what `protect` asks for; without, the result is for comparing alone.
        push_down: find the split of what has no place; without, all is as written.
    """
    guarded = protections and not unsplit
    passes: tuple[Pass, ...] = (
        Penalise(),
        Prune(),
        *((AtOnePlace(push_down),) if unsplit else ()),
        *((PushDown(),) if push_down and not unsplit else ()),
        *(() if unsplit else (Placement(unsplit=False),)),
        *((FuseTables(),) if fuse else ()),
        *(() if unsplit else (StandIn(masked=False),)),
        *((ProtectValues(),) if guarded else ()),
        Modes(),
        Differentiate(),
        *((ProtectWeights(),) if guarded else ()),
        Optimize(),
        Simplify(),
        *((ProtectGradients(),) if guarded else ()),
        Cut(),
        *((Disclose(),) if guarded else ()),
    )
    return Pipeline(passes, Partitioned)


def outline() -> Pipeline[ByMode]:
    """The passes of a model as the spec writes it, at one place: what it predicts, and nothing is moved."""
    return Pipeline((Prune(), Placement(unsplit=True), Modes()), ByMode)


def population_pipeline() -> Pipeline[Vectorised]:
    """The passes of a spec with a population: it is cut between its weights, not between its values."""
    from vflc.passes.learn.population import LearnOfUsers
    from vflc.passes.population.home import Home
    from vflc.passes.population.phases import Phases
    from vflc.passes.population.vectorise import Vectorise

    return Pipeline((Prune(), Home(), Vectorise(), Phases(), LearnOfUsers()), Vectorised)
