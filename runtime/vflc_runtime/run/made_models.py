"""The model of a checkpoint that has rows of large tables as they lie, not as they are after all steps."""

from __future__ import annotations

from collections.abc import Mapping

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.tensors import AnyTensors, Tensors, arrays


def whole(kinds: Mapping[str, AnyTensors]) -> Tensors | None:
    """The model [rows, …] by name in what a checkpoint holds of a place; None where it is to be made."""
    if "best" in kinds:
        return arrays(kinds["best"])
    model = kinds["model"]
    return arrays(model) if kinds.get("stored", {}).keys() <= model.keys() else None


def made(plan: Plan, kinds: Mapping[str, AnyTensors], step: int) -> Tensors:
    """The same, if need be made by the engine, with the bits that it has in the run."""
    found = whole(kinds)
    if found is not None:
        return found
    from vflc_runtime.engines.onnx import OnnxEngine  # takes long, and who opens a run seldom needs it

    engine = OnnxEngine(plan, ("train",), 0)
    engine.load({**kinds["model"], **kinds["stored"]}, kinds["slots"], step)
    return engine.weights()
