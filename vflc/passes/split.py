"""A spec with parties through its passes: with what `push_down` finds, or as it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

from vflc.diagnostics import Diagnostic, DiagnosticCollector, Refused
from vflc.diagnostics.diagnostic import in_order
from vflc.ir.stages import Lowered, Partitioned
from vflc.passes.pipeline import UNWATCHED, Pipeline, Watch

M = TypeVar("M", bound=Partitioned)


def split(
    lowered: Lowered,
    collector: DiagnosticCollector,
    passes: Callable[..., Pipeline[M]],
    watch: Watch = UNWATCHED,
    protections: bool = True,
    push_down: bool = True,
) -> M:
    """Runs the `passes` of a spec with parties: `pipeline`, or `analysis`, which a check stops after.

    What `push_down` finds must have no more findings of any code than what is written, and break no limit
    that this keeps: else the model is taken as it is written. Within grants, bounds are not compared.

    Raises:
        Refused: a pass found a mistake.
    """
    going = collector.going
    found = _Attempt(lowered, passes(protections=protections, push_down=push_down), watch, going)
    if found.pushed and found.diagnostics:
        written = _Attempt(lowered, passes(protections=protections, push_down=False), watch, going)
        if written.model and (found.model is None or _more(found.diagnostics, written.diagnostics)):
            found = written
    collector.diagnostics += found.diagnostics
    for name, model in found.made:
        watch.after(name, model)
    if found.model is None:
        raise Refused(in_order(collector.diagnostics))
    return found.model


class _Attempt(Generic[M]):
    """One way through the passes of a spec with parties, whatever comes of it."""

    def __init__(
        self, lowered: Lowered, passes: Pipeline[M], watch: Watch, going: Callable[[], None]
    ) -> None:
        collector = DiagnosticCollector(going=going)
        self.made: list[tuple[str, Lowered]] = []
        self.model: M | None = None
        try:
            self.model = passes.run(lowered, collector, Watch(self._after, watch.checked))
            self.diagnostics = collector.diagnostics
        except Refused as refused:
            self.diagnostics = refused.diagnostics

    def _after(self, name: str, model: Lowered) -> None:
        self.made.append((name, model))

    @property
    def pushed(self) -> bool:
        return bool(self.made) and self.made[-1][1].pushed


def _more(some: list[Diagnostic], others: list[Diagnostic]) -> bool:
    """Whether of any code some are more than the others."""
    return not Counter(d.code for d in some) <= Counter(d.code for d in others)
