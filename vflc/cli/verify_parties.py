"""`vflc verify` of a model over parties: split against unsplit, ONNX against Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vflc.cli.options import reads

if TYPE_CHECKING:
    from vflc_runtime.data.source import TableSource
    from vflc_runtime.verify import NonSmoothPoints, Verification, Way

    from vflc.diagnostics import Diagnostic
    from vflc.emit.bundle import Bundle

DENSE = "dense keras"
"""The way whose weights Keras's own optimizers update."""
STEPS = 100
ROWS = 1000
EPOCH = 16
"""Steps of an epoch at least, where the batch is ours to choose."""


def _compile(
    spec: Path, precision: str, engines: tuple[str, ...], steps: int, folder: Path
) -> tuple[list[Way], list[Diagnostic], dict[str, Any]]:
    """The ways, those of the unsplit model first, the compiler's warnings, and what is left out.

    Noise is never the same twice, and compression has no counterpart where nothing crosses: the model
    is compared as it is without its protections.
    """
    from vflc_runtime.bundle.folder import open_bundle
    from vflc_runtime.bundle.plugins import find_engine
    from vflc_runtime.verify import Way

    from vflc import driver
    from vflc.cli.verify_rules import keras_rules, unlike_keras
    from vflc.diagnostics import Refused
    from vflc.ir.stages import Scheduled

    ways: list[Way] = []
    protected = driver.compile_spec(spec, precision=precision)
    bundles = {"unsplit": _compiled(spec, precision, engines, unsplit=True)}
    bundles["split"] = _compiled(spec, precision, engines)
    if bundles["split"].model.pushed:
        with suppress(Refused):  # a spec may need its model pushed down
            bundles["written"] = _compiled(spec, precision, engines, push_down=False)
    for name, bundle in bundles.items():
        bundle.write(folder / name)
        for engine in engines:
            ways.append(Way(f"{name} {engine}", open_bundle(folder / name, engine=engine)))
    model = protected.model
    assert isinstance(model, Scheduled), "populations are verified by themselves"
    unlike = unlike_keras(model)
    for way in [way for way in ways if way.name.startswith("unsplit ") and find_engine(way.engine).dense]:
        if unlike is None:
            ways.append(Way(f"dense {way.engine}", way.bundle, keras_rules(model, steps)))
    off = [protection.mechanism for protection in model.protections]
    return ways, protected.warnings, {"protections_off": off, "dense_off": unlike}


def _compiled(spec: Path, precision: str, engines: tuple[str, ...], **options: Any) -> Bundle:
    """A bundle without protections, for all engines."""
    from vflc import driver

    return driver.compile_spec(
        spec, precision=precision, backends=reads(engines), protections=False, **options
    )


def _double(spec: Path, engines: tuple[str, ...], folder: Path) -> Way:
    """The unsplit model in float64."""
    from vflc_runtime.bundle.folder import open_bundle
    from vflc_runtime.verify import Way

    bundle = _compiled(spec, "float64", engines, unsplit=True)
    bundle.write(folder / "double")
    return Way(f"unsplit {engines[0]}", open_bundle(folder / "double", engine=engines[0]))


def verified(
    spec: Path,
    precision: str,
    options: Mapping[str, Any],
    start: Callable[[int, int], None],
    step: Callable[[str, int], None],
    folder: Path,
) -> tuple[Verification, dict[str, Any], list[Diagnostic]]:
    """One precision of a model over parties, how much was trained on what, and the compiler's warnings."""
    from vflc_runtime.data.generate import generate
    from vflc_runtime.events import silent
    from vflc_runtime.run import loading
    from vflc_runtime.verify import VerifySettings, idle_weights, verify

    steps = options["steps"] or STEPS
    single = precision == "float32"
    start(len(options["engines"]) * 2, steps)
    ways, warnings, off = _compile(spec, precision, options["engines"], steps, folder)
    start(len(ways) + single, steps)
    bundle = ways[0].bundle
    training = next(iter(bundle.plans.values())).training
    seed = training.seed if options["seed"] is None else options["seed"]
    sources: Mapping[str, TableSource] = options["sources"]
    if not sources:
        sources = generate(loading.encoders(bundle), options["rows"] or ROWS, seed)
    order = {"seed": seed, "validation": 0.0, "fold": 0}
    rows = loading.load_training(bundle, sources, order, None, silent)
    batch = options["batch"] or min(training.batch, max(1, rows.rows // EPOCH))
    settings = VerifySettings(steps, batch, seed, options["threads"])
    non_smooth, idle = None, list[str]()
    if single:
        non_smooth, double = _non_smooth_points(spec), _double(spec, options["engines"][:1], folder)
        same = loading.load_training(double.bundle, sources, order, None, silent)
        idle = idle_weights(double, same, settings, step)
    numbers = {"steps": steps, "rows": rows.rows, "batch": batch, "seed": seed, **off}
    return verify(ways, rows, settings, non_smooth, step, idle), numbers, warnings


def _non_smooth_points(spec: Path) -> NonSmoothPoints | None:
    from vflc_runtime.verify import NonSmoothPoints
    from vflc_runtime.verify.non_smooth import OutsideInput

    from vflc import driver
    from vflc.emit.onnx.non_smooth import non_smooth_points

    found = non_smooth_points(driver.unsplit_model(spec), "float32")
    if found is None:
        return None
    outside = tuple(OutsideInput(**each) for each in found.pop("outside"))
    return NonSmoothPoints(**found, outside=outside)
