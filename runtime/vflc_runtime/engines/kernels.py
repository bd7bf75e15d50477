"""Our own operators in place of patterns of a graph, where the extension is there to run them.

The graphs of a bundle stay standard ONNX: patterns are replaced when a graph is loaded, and what was
replaced is logged, at level debug, by `vflc_runtime.kernels`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import vflc_kernels

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.events import Warned

if TYPE_CHECKING:
    import onnx

LOG = logging.getLogger("vflc_runtime.kernels")
MOST_KEPT = 1 << 16
"""Bytes of a graph that is kept as it was replaced; larger ones hold numbers, and are few."""


def warning() -> Warned | None:
    """What users are told where the extension is not used and they did not say so themselves."""
    why, value = vflc_kernels.why_not(), vflc_kernels.switched()
    if not why or value == "off":
        return None
    help = "install g++ or clang, and vflc anew; or set VFLC_KERNELS=off"
    if value not in vflc_kernels.VALUES:
        help = "leave VFLC_KERNELS out of the environment, or set it to one of these"
    return Warned("VFL0775", f"training takes longer than it could, as kernels are missing: {why}", help)


def state() -> str:
    """Whether our operators are `used`, or why not."""
    return vflc_kernels.why_not() or "used"


def narrow(plan: Plan, graph: str) -> bool:
    """Whether a graph's products may round factors to bfloat16: those of training, where the spec has it."""
    steps = plan.programs.get("train", ())
    trains = any(step.do == "run" and step.target == graph for step in steps)
    return plan.training.factors == "bfloat16" and trains


def no_bfloat16(plan: Plan, engine: str) -> str | None:
    """Why products are as if the spec had no `precision bfloat16`; None where they are not."""
    if engine != "onnx":
        return f"the engine {engine} has no products in bfloat16"
    if plan.precision != "float32":
        return f"the bundle is in {plan.precision}"
    if why := vflc_kernels.why_not():
        return f"vflc's kernels are not used: {why}"
    return None if vflc_kernels.products(bfloat16=True) else "this processor has no AVX512_BF16"


def factors(plan: Plan, engine: str) -> tuple[str, Warned | None]:
    """What training rounds factors of products to, and what users are told where the spec asks for more."""
    if plan.training.factors != "bfloat16":
        return plan.precision, None
    why = no_bfloat16(plan, engine)
    if why is None:
        return "bfloat16", None
    message = f"`precision bfloat16` has no effect: {why}"
    help = f"products are in {plan.precision}; nothing is wrong but for the time that it takes"
    return plan.precision, Warned("VFL0781", message, help)


@dataclass(frozen=True)
class Loadable:
    """A graph as onnxruntime is to load it.

    Args:
        content: the serialised model.
        library: with the operators that it needs, if it needs any of ours.
        shared: whether onnxruntime shares out its own operators, by threads of the session.
        replaced: by our operators, one text a node.
    """

    content: bytes
    library: str | None
    shared: bool
    replaced: tuple[str, ...] = ()


@lru_cache(maxsize=128)
def _replaced(content: bytes, bfloat16: bool, library: str | None, switched: str) -> Loadable:
    """A graph with our operators, if they are there; kept, as a process often loads a bundle again.

    It takes twice as long as onnxruntime takes to load a small graph. `switched` is all else it depends on.
    """
    import onnx
    from vflc_kernels.graphs import kinds
    from vflc_kernels.left import shared_by_onnxruntime
    from vflc_kernels.replace import replace

    changed = onnx.ModelProto.FromString(content)
    try:
        if library is None:
            return Loadable(content, None, shared_by_onnxruntime(changed.graph, kinds(changed)))
        replaced, shared = replace(changed, bfloat16)
        own = any(each.domain == vflc_kernels.DOMAIN for each in changed.opset_import)
        if replaced:
            content = changed.SerializeToString()
        return Loadable(content, library if own else None, shared, tuple(replaced))
    except (IndexError, KeyError, ValueError, onnx.shape_inference.InferenceError):
        return Loadable(content, library, shared=False)  # no valid graph; onnxruntime says why


def with_kernels(model: onnx.ModelProto, bfloat16: bool) -> Loadable:
    """A model that does the same, with our operators where there are any."""
    library, content = vflc_kernels.library(), model.SerializeToString()
    once = _replaced if len(content) <= MOST_KEPT else _replaced.__wrapped__
    loadable = once(content, bfloat16, library, vflc_kernels.switched())
    for text in loadable.replaced:
        LOG.debug("%s of outputs %s", text, ", ".join(each.name for each in model.graph.output))
    return loadable


def refuse_own_operators(model: onnx.ModelProto, path: Path) -> None:
    """No file has operators of ours: they are for what replaces patterns alone.

    Raises:
        Failure: VFL0613.
    """
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    if any(node.domain == vflc_kernels.DOMAIN for node in _all(nodes)):
        raise damaged(f"{path} has operators of `{vflc_kernels.DOMAIN}`, which are none of a bundle's")


def _all(nodes: list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, and those of their branches and loops."""
    waiting = [*nodes]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            waiting += attribute.g.node
            waiting += (inner for graph in attribute.graphs for inner in graph.node)
