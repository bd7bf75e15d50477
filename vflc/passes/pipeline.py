"""What happens between tree and bundle, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vflc.diagnostics import Collector
from vflc.ir.model import Model
from vflc.passes.cut import Cut
from vflc.passes.differentiate import Differentiate
from vflc.passes.disclose import Disclose
from vflc.passes.fuse_tables import FuseTables
from vflc.passes.learn.population import LearnOfUsers
from vflc.passes.modes import Modes
from vflc.passes.optimize import Optimize
from vflc.passes.penalise import Penalise
from vflc.passes.place import Place
from vflc.passes.population.home import Home
from vflc.passes.population.phases import Phases
from vflc.passes.population.vectorise import Vectorise
from vflc.passes.protect.gradients import ProtectGradients
from vflc.passes.protect.values import Protect
from vflc.passes.protect.weights import ProtectWeights
from vflc.passes.prune import Prune
from vflc.passes.schedule import Scheduling
from vflc.passes.simplify import Simplify


class Pass(Protocol):
    """From a model to a model; mistakes of the user go to the collector."""

    @property
    def name(self) -> str: ...

    def __call__(self, model: Model, collector: Collector) -> Model: ...


def pipeline(unsplit: bool = False, fuse: bool = True, protections: bool = True) -> tuple[Pass, ...]:
    """The passes.

    Args:
        unsplit: put the whole model at one place, where nothing crosses.
        fuse: make the tables that the same ids read one; else each stays its own.
        protections: carry out what `protect` asks for; without, the result is for comparing alone.
    """
    guarded = protections and not unsplit
    return (
        Penalise(),
        Prune(),
        Place(unsplit),
        *((FuseTables(),) if fuse else ()),
        *((Protect(),) if guarded else ()),
        Modes(),
        Differentiate(),
        *((ProtectWeights(),) if guarded else ()),
        Optimize(),
        Simplify(),
        *((ProtectGradients(),) if guarded else ()),
        Cut(),
        *((Disclose(),) if guarded else ()),
        Scheduling(),
    )


def population_pipeline() -> tuple[Pass, ...]:
    """The passes of a spec with a population: it is cut between its weights, not between its values."""
    return (Prune(), Home(), Vectorise(), Phases(), LearnOfUsers())


def run(
    model: Model,
    collector: Collector,
    passes: tuple[Pass, ...],
    after: Callable[[Pass, Model], None] | None = None,
) -> Model:
    """Runs the passes; stops after one that found a mistake. `after` sees every result.

    Raises:
        Refused: a pass found a mistake.
    """
    for step in passes:
        model = step(model, collector)
        collector.refuse_errors()
        if after is not None:
            after(step, model)
    return model
