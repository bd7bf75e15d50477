"""What the command line and the language server call: check a spec, compile it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from vflc_common.plugins import MEND, at_fault
from vflc_common.words import DEFAULT_BACKEND, PRECISIONS

from vflc.diagnostics import Diagnostic, DiagnosticCollector, Refused, SourceText
from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.learn import Learned
from vflc.ir.stages import Lowered, Partitioned, Scheduled, Vectorised
from vflc.passes.disclose import Disclose
from vflc.passes.learn.bounds import learned
from vflc.passes.learn.received import received, together
from vflc.passes.lower import lower
from vflc.passes.lower.modules import NO_FILES
from vflc.passes.pipeline import UNWATCHED, Watch, analysis, outline, pipeline, population_pipeline
from vflc.passes.split import split
from vflc.syntax import tree
from vflc.syntax.parser import parse, parse_again, read_source
from vflc.syntax.reuse import ParsedText

if TYPE_CHECKING:
    from vflc.emit.bundle import Bundle


@contextmanager
def undisturbed() -> Iterator[None]:
    """Looks for no garbage meanwhile: models are frozen parts by the million that nothing lets go of."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def naming_plugins(model: Lowered, collector: DiagnosticCollector) -> Iterator[None]:
    """Makes a finding at its place of what another package's record raises when graphs are made of it."""
    try:
        yield
    except Refused:
        raise
    except Exception as error:
        broken = at_fault(error)
        if broken is None:
            raise
        span = model.plugins.get(broken.plugin) if broken.plugin is not None else None
        collector.error("VFL0695", broken.message, span, MEND)
        raise Refused(collector.diagnostics) from error


class Examined(Struct, frozen=True):
    """A text, everything that is to say about it, and its model.

    Args:
        folder: where files that it uses are looked for.
        spec: None where the text is no spec.
        model: as far as passes came without a mistake; None where lowering found one.
        files: texts that stood for files.
        parsed: what the next version may keep.
    """

    source: SourceText
    folder: Path | None
    diagnostics: list[Diagnostic]
    spec: tree.Spec | None = None
    model: Lowered | None = None
    files: Mapping[Path, str] = NO_FILES
    parsed: ParsedText | None = None

    @property
    def refused(self) -> bool:
        return any(found.level == "error" for found in self.diagnostics)


def check(path: Path) -> list[Diagnostic]:
    """Everything that is to say about the spec in a file; a mistake is never raised."""
    return examine_file(path).diagnostics


def check_source(source: SourceText, folder: Path | None = None) -> list[Diagnostic]:
    """Everything that is to say about a text; `folder` is where files it uses are looked for."""
    return examine(source, folder).diagnostics


def examine_file(path: Path, overrides: Mapping[str, str] | None = None) -> Examined:
    """Checks a file, as `examine`; one that cannot be read is empty."""
    try:
        return examine(_overridden(read_source(path), overrides), path.parent)
    except Refused as refused:
        return Examined(SourceText(str(path), ""), path.parent, refused.diagnostics)


@undisturbed()
def examine(
    source: SourceText,
    folder: Path | None = None,
    files: Mapping[Path, str] = NO_FILES,
    going: Callable[[], None] = lambda: None,
    before: ParsedText | None = None,
) -> Examined:
    """Checks a text and keeps what was made of it; a mistake is never raised.

    Args:
        source: the text.
        folder: where files that it uses are looked for.
        files: texts that stand for what lies there, by absolute path: what an editor has not saved.
        going: called now and then; what it raises ends the check.
        before: another version of the text, of which statements that did not change are kept.
    """
    collector, models = DiagnosticCollector(going=going), list[Lowered]()
    parsed = parse_again(source, collector, before)
    spec = parsed.spec
    try:
        models.append(_lowered(spec, source, folder, collector, files))
        watch = Watch(lambda _, model: models.append(model))
        with naming_plugins(models[0], collector):
            if models[0].population:
                population_pipeline().run(models[0], collector, watch)
            else:
                models.append(split(models[0], collector, analysis, watch))
    except Refused as refused:
        model = _disclosed(models[-1]) if models else None
        return Examined(source, folder, refused.diagnostics, spec, model, files, parsed)
    return Examined(source, folder, collector.diagnostics, spec, models[-1], files, parsed)


def _disclosed(model: Lowered) -> Lowered:
    """With who may learn what, also where that is not granted: the last pass of a check finds it."""
    if type(model) is Partitioned:
        return Disclose()(model, DiagnosticCollector())
    if type(model) is Vectorised:
        from vflc.passes.learn.population import LearnOfUsers

        return LearnOfUsers()(model, DiagnosticCollector())
    return model


@undisturbed()
def repaired(examined: Examined) -> str:
    """The text with the grants that it lacks, each with what it means, and without waivers that are none.

    It stays as it is where it lacks none, and where mistakes hide what it would have to grant.
    """
    from vflc.fixes import with_grants, without_waivers
    from vflc.passes.learn.granted import missing_grants
    from vflc.passes.learn.population import received_of_users

    source, spec = examined.source, examined.spec
    if spec is None:
        return source.text
    text = without_waivers(source, spec)
    if text != source.text:
        return repaired(examine(SourceText(source.name, text), examined.folder, examined.files))
    model = examined.model
    if isinstance(model, Vectorised):
        reaching = received_of_users(model)
    elif isinstance(model, Partitioned):
        reaching = received(model)
    else:
        return text
    return with_grants(source, spec, missing_grants(model, reaching))


@undisturbed()
def crossing(examined: Examined) -> dict[str, Any] | None:
    """What a bundle's manifest says of a spec, without graphs: what crosses, and who may learn what.

    Returns:
        As `manifest.json`, but for what tells of its files; None where mistakes hide what would cross.
    """
    from vflc.emit.manifest.manifest import manifest, parties
    from vflc.emit.population.manifest import population_manifest
    from vflc.passes.schedule import Scheduling

    model, text = examined.model, examined.source.text
    if isinstance(model, Vectorised):
        data = population_manifest(model, text, PRECISIONS[0], {}, parties(model))
    elif isinstance(model, Partitioned):
        scheduled = Scheduling()(model, DiagnosticCollector())
        data = manifest(scheduled, text, PRECISIONS[0], {})
    else:
        return None
    return {key: value for key, value in data.items() if key not in ("contents", "digest")}


@undisturbed()
def learned_together(model: Lowered, places: tuple[str, ...]) -> tuple[Learned, ...]:
    """What places that pool all that they are sent may learn of the columns of others.

    Args:
        model: whole, of a spec without mistakes.
        places: that pool it.

    Raises:
        Refused: there is no place of such a name; the model has a population.
    """
    collector = DiagnosticCollector()
    if not isinstance(model, Partitioned):
        help = "see docs/populations.md for what its hub learns"
        collector.error("VFL0502", "users of a population cannot be merged", None, help)
        raise Refused(collector.diagnostics)
    for place in places:
        if place not in model.places:
            near = did_you_mean(place, model.places)
            help = f"did you mean `{near}`?" if near else f"use one of: {', '.join(model.places)}"
            collector.error("VFL0403", f"there is no party `{place}`", None, help)
    collector.refuse_errors()
    return learned(model, together(received(model), places))


def compile_spec(
    path: Path,
    *,
    precision: str = "float32",
    unsplit: bool = False,
    backends: tuple[str, ...] = (DEFAULT_BACKEND,),
    protections: bool = True,
    push_down: bool = True,
    overrides: Mapping[str, str] | None = None,
    watch: Watch = UNWATCHED,
) -> Bundle:
    """Compiles the spec in a file.

    Args:
        path: the spec.
        precision: `float32` or `float64`.
        unsplit: put the whole model at one place, as if all tables lay in one.
        backends: what to emit, of `BACKENDS`.
        protections: put them in; without, a run only serves to compare numbers.
        push_down: find the split of what has no place; without, all is as written.
        overrides: by name, values of top-level bindings and settings of `train`, in the spec's language.
        watch: how passes are looked at.

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
        push_down=push_down,
        overrides=overrides,
        watch=watch,
    )


@undisturbed()
def compile_source(
    source: SourceText,
    folder: Path | None = None,
    *,
    precision: str = "float32",
    unsplit: bool = False,
    backends: tuple[str, ...] = (DEFAULT_BACKEND,),
    protections: bool = True,
    push_down: bool = True,
    overrides: Mapping[str, str] | None = None,
    watch: Watch = UNWATCHED,
) -> Bundle:
    """Compiles a text; `folder` is where files it uses are looked for. Raises as `compile_spec`."""
    from vflc.emit.emit import emit, emit_population  # imports onnx, which checking must not

    collector = DiagnosticCollector()
    source = _overridden(source, overrides)
    lowered = _read(source, folder, collector)
    with naming_plugins(lowered, collector):
        if lowered.population is not None:
            if unsplit:
                _refuse_unsplit(lowered, collector)
            users = population_pipeline().run(lowered, collector, watch)
            return emit_population(users, source.text, precision, backends, collector.diagnostics)
        if unsplit:
            model = pipeline(unsplit).run(lowered, collector, watch)
        else:
            model = split(lowered, collector, pipeline, watch, protections, push_down)
        unfused = whole = None
        if "keras" in backends:
            again = pipeline(unsplit, fuse=False, protections=protections, push_down=model.pushed)
            unfused = again.run(lowered, DiagnosticCollector())
            whole = (
                unfused if unsplit else pipeline(unsplit=True, fuse=False).run(lowered, DiagnosticCollector())
            )
        written = outline().run(lowered, DiagnosticCollector())
        return emit(model, source.text, precision, backends, collector.diagnostics, unfused, whole, written)


def kind_of(path: Path) -> str:
    """What the spec in a file is over: `parties` or a `population`.

    Raises:
        Refused: the spec has mistakes.
    """
    return (
        "parties"
        if _read(read_source(path), path.parent, DiagnosticCollector()).population is None
        else "population"
    )


def unsplit_model(path: Path) -> Scheduled:
    """The whole model of a spec at one place, scheduled, every table under its own name.

    Raises:
        Refused: the spec has mistakes.
    """
    return unsplit_source(read_source(path), path.parent)


def unsplit_source(source: SourceText, folder: Path | None = None) -> Scheduled:
    """The same of a text; `folder` is where files it uses are looked for. Raises as `unsplit_model`."""
    return pipeline(unsplit=True, fuse=False).run(
        _read(source, folder, DiagnosticCollector()), DiagnosticCollector()
    )


def _refuse_unsplit(model: Lowered, collector: DiagnosticCollector) -> None:
    span = next(party.span for party in model.parties if party.population)
    help = "use `vflc verify SPEC`: it compares users that run together with users that run one at a time"
    collector.error("VFL0502", "a population cannot be compiled unsplit", span, help)
    collector.refuse_errors()


def _overridden(source: SourceText, overrides: Mapping[str, str] | None) -> SourceText:
    if not overrides:
        return source
    from vflc.overrides import overridden

    return overridden(source, overrides)


def _read(source: SourceText, folder: Path | None, collector: DiagnosticCollector) -> Lowered:
    return _lowered(parse(source, collector), source, folder, collector)


def _lowered(
    spec: tree.Spec,
    source: SourceText,
    folder: Path | None,
    collector: DiagnosticCollector,
    files: Mapping[Path, str] = NO_FILES,
) -> Lowered:
    model = lower(spec, _name(source), folder, collector, files)
    collector.refuse_errors()
    assert model is not None, "lowering gives a model or a diagnostic"
    return model


def _name(source: SourceText) -> str:
    return Path(source.name).stem
