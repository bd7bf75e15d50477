"""What the command line and the language server call: check a spec, compile it."""

from __future__ import annotations

from pathlib import Path

from vflc.diagnostics import Collector, Diagnostic, Refused, Source
from vflc.diagnostics.suggest import did_you_mean
from vflc.emit.bundle import Bundle
from vflc.fixes import with_grants
from vflc.ir.learn import Learned
from vflc.ir.model import Model
from vflc.passes.learn.bounds import learned
from vflc.passes.learn.granted import missing_grants
from vflc.passes.learn.population import received_of_users
from vflc.passes.learn.received import received, together
from vflc.passes.lower import lower
from vflc.passes.pipeline import pipeline, population_pipeline, run
from vflc.syntax.parser import parse, read_source

BACKENDS = ("onnx", "keras")


def check(path: Path) -> list[Diagnostic]:
    """Everything that is to say about the spec in a file; a mistake is never raised."""
    try:
        return check_source(read_source(path), path.parent)
    except Refused as refused:
        return refused.diagnostics


def check_source(source: Source, folder: Path | None = None) -> list[Diagnostic]:
    """Everything that is to say about a text; `folder` is where files it uses are looked for."""
    collector = Collector()
    try:
        _model(source, folder, collector)
    except Refused as refused:
        return refused.diagnostics
    return collector.diagnostics


def fixed(source: Source, folder: Path | None = None) -> str:
    """The text with the grants that it lacks, each with what it means; the same where it lacks none.

    Raises:
        Refused: the spec has mistakes besides, so that nobody knows what it would have to grant.
    """
    collector = Collector()
    spec = parse(source, collector)
    lowered = _lowered(source, folder, collector)
    of_users = lowered.population is not None
    passes = population_pipeline() if of_users else pipeline()
    judging = next(index for index, step in enumerate(passes) if step.name in ("disclose", "learn of users"))
    model = run(lowered, collector, passes[:judging])
    reaching = received_of_users(model) if of_users else received(model)
    return with_grants(source, spec, missing_grants(model, reaching))


def learned_together(path: Path, places: tuple[str, ...]) -> tuple[Learned, ...]:
    """What places that pool all that they are sent may learn of the columns of others.

    Raises:
        Refused: the spec has mistakes, or no place of such a name; it has a population.
    """
    collector = Collector()
    lowered = _lowered(read_source(path), path.parent, collector)
    if lowered.population is not None:
        help = "what its hub learns stands in docs/populations.md"
        collector.error("VFL0502", "users of a population are not put together", None, help)
    for place in places:
        if place not in lowered.places:
            near = did_you_mean(place, lowered.places)
            help = f"did you mean `{near}`?" if near else f"there are {', '.join(lowered.places)}"
            collector.error("VFL0403", f"there is no party `{place}`", None, help)
    collector.refuse_errors()
    model = run(lowered, collector, pipeline())
    return learned(model, together(received(model), places))


def compile_spec(
    path: Path,
    *,
    precision: str = "float32",
    unsplit: bool = False,
    backends: tuple[str, ...] = ("onnx",),
    protections: bool = True,
) -> Bundle:
    """Compiles the spec in a file.

    Args:
        path: the spec.
        precision: `float32` or `float64`.
        unsplit: put the whole model at one place, as if all tables lay in one.
        backends: what to emit, of `BACKENDS`.
        protections: put them in; without, a run only serves to compare numbers.

    Raises:
        Refused: the spec has mistakes; every one of them is in it.
    """
    return compile_source(
        read_source(path),
        path.parent,
        precision=precision,
        unsplit=unsplit,
        backends=backends,
        protections=protections,
    )


def compile_source(
    source: Source,
    folder: Path | None = None,
    *,
    precision: str = "float32",
    unsplit: bool = False,
    backends: tuple[str, ...] = ("onnx",),
    protections: bool = True,
) -> Bundle:
    """Compiles a text; `folder` is where files it uses are looked for. Raises as `compile_spec`."""
    from vflc.emit.emit import emit  # imports onnx, which checking must not

    collector = Collector()
    lowered = _lowered(source, folder, collector)
    if lowered.population is not None:
        if unsplit:
            _refuse_unsplit(lowered, collector)
        model = run(lowered, collector, population_pipeline())
        return emit(model, source.text, precision, backends, collector.diagnostics)
    model = run(lowered, collector, pipeline(unsplit, protections=protections))
    unfused = None
    if "keras" in backends:
        unfused = run(lowered, Collector(), pipeline(unsplit, fuse=False, protections=protections))
    return emit(model, source.text, precision, backends, collector.diagnostics, unfused)


def over_population(path: Path) -> bool:
    """Whether the spec in a file has a population.

    Raises:
        Refused: the spec has mistakes.
    """
    return _lowered(read_source(path), path.parent, Collector()).population is not None


def unsplit_model(path: Path) -> Model:
    """The whole model of a spec at one place, scheduled, every table under its own name.

    Raises:
        Refused: the spec has mistakes.
    """
    lowered = _lowered(read_source(path), path.parent, Collector())
    return run(lowered, Collector(), pipeline(unsplit=True, fuse=False))


def _model(source: Source, folder: Path | None, collector: Collector) -> Model:
    lowered = _lowered(source, folder, collector)
    return run(lowered, collector, population_pipeline() if lowered.population else pipeline())


def _refuse_unsplit(model: Model, collector: Collector) -> None:
    span = next(party.span for party in model.parties if party.population)
    help = "`vflc verify SPEC` compares users that run together with one user at a time"
    collector.error("VFL0502", "a population is not compiled unsplit", span, help)
    collector.refuse_errors()


def _lowered(source: Source, folder: Path | None, collector: Collector) -> Model:
    spec = parse(source, collector)
    model = lower(spec, _name(source), folder, collector)
    collector.refuse_errors()
    assert model is not None, "lowering gives a model or a diagnostic"
    return model


def _name(source: Source) -> str:
    return Path(source.name).stem
