"""Kernels that lie in slices at several places, as one initializer of a merged ONNX model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vflc_runtime.bundle.plan import Plan, Weight
from vflc_runtime.bundle.slices import joined


def join_slices(graph: Any, plans: Iterable[Plan], inside: Mapping[str, str]) -> None:
    """Replaces initializers that are slices by the whole weight, under its name, and a cut from it for each.

    A runtime cuts once, when it loads the model. Where one of a weight's slices is not in the model,
    those that are stay initializers.

    Args:
        graph: of the model, with all its initializers.
        plans: of the places whose graphs it has.
        inside: the names of initializers, with those of their weights.
    """
    from onnx import helper, numpy_helper

    plans = list(plans)
    slices = {w.name: w for plan in plans for w in plan.weights.values() if w.slice is not None}
    tensors = {each.name: each for each in graph.initializer if inside.get(each.name) in slices}
    arrays = {inside[name]: numpy_helper.to_array(tensor) for name, tensor in tensors.items()}
    wholes = {name: a for name, a in joined(plans, arrays).items() if name not in arrays}
    cuts = []
    for name, weight in inside.items():
        cut = slices.get(weight)
        if name in tensors and cut is not None and cut.whole in wholes:
            graph.initializer.remove(tensors[name])
            bounds = [f"{name}/{end}" for end in ("start", "stop")]
            for bound, row in zip(bounds, _rows(cut), strict=True):
                graph.initializer.append(numpy_helper.from_array(np.array([row], np.int64), bound))
            cuts.append(helper.make_node("Slice", [cut.whole, *bounds], [name], name=f"{name}/Slice"))
    for name, whole in wholes.items():
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(whole), name))
    nodes = [*cuts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _rows(weight: Weight) -> tuple[int, int]:
    first = 0 if weight.slice is None else weight.slice.start
    return first, first + weight.shape[0]
