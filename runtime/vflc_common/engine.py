"""What an engine is: it runs a bundle's graphs, for `--engine` to choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, util
from typing import Any

from vflc_common.words import Backend

Make = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """An engine by name. Each party chooses its own: none stands in a bundle.

    Args:
        name: as users write it.
        doc: what it is, as the end of a sentence.
        reads: which of a bundle's files it runs.
        make: from (plan of a place, names of programs, seed, threads or None) to what runs them there: an
            `Engine` of `vflc_runtime.engines.engine`.
        library: the module that it needs, whose version its bits depend on.
        extra: of vflc, which installs that; None where vflc has it anyway.
        runners: from a precision to what makes a `Runner` of `vflc_runtime.engines.population_runners` of a
            graph; None where it runs no models over populations.
        dense: what updates weights by the library's own optimizers instead of ours, for `vflc verify`; an
            engine with it has `update_by`.
        device: where it runs; one that runs elsewhere than on the processor runs only where it is asked for.
    """

    name: str
    doc: str
    reads: Backend
    make: Make
    library: str
    extra: str | None = None
    runners: Make | None = None
    dense: Make | None = None
    device: str = "cpu"

    @property
    def installed(self) -> bool:
        """Whether what it needs is there."""
        return util.find_spec(self.library) is not None


def later(where: str) -> Make:
    """Calls what `where`, as `module:name`, leads to, which is imported then."""
    module, _, name = where.partition(":")

    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(import_module(module), name)(*arguments, **named)

    return call
