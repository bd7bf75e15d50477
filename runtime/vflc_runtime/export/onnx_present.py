"""Rows that a party lacks, in a merged ONNX model: an input says which it has, and masks what is its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.export.marks import mark
from vflc_runtime.export.model import BATCH

_BOOL = 9


def add_marks(graph: Any, parties: Iterable[str], plans: Iterable[Plan], float_type: int) -> None:
    """Adds the inputs, and what the parts of the places read in their stead: 1 or 0."""
    from onnx import helper

    for party in parties:
        graph.input.append(helper.make_tensor_value_info(mark(party), _BOOL, (BATCH, 1)))
    for plan in plans:
        for each in plan.inputs.values():
            if each.present:
                cast = helper.make_node("Cast", [mark(each.party)], [each.id], each.id, to=float_type)
                graph.node.append(cast)


def masked(name: str) -> str:
    """What others read of a party's value: 0 in rows that it lacks."""
    return f"{name}/present"


def add_masked(graph: Any, party: str, info: Any) -> None:
    """Adds that of one of its values of a row, [batch, …]."""
    from onnx import helper, numpy_helper

    type, rank = info.type.tensor_type.elem_type, len(info.type.tensor_type.shape.dim)
    zero, axes = f"{masked(info.name)}/zero", f"{masked(info.name)}/axes"
    graph.initializer.append(
        numpy_helper.from_array(np.zeros((), helper.tensor_dtype_to_np_dtype(type)), zero)
    )
    has = mark(party)
    if rank > 2:
        graph.initializer.append(numpy_helper.from_array(np.arange(2, rank), axes))
        graph.node.append(helper.make_node("Unsqueeze", [has, axes], [axes + "/mark"], axes))
        has = axes + "/mark"
    node = helper.make_node("Where", [has, info.name, zero], [masked(info.name)], masked(info.name))
    graph.node.append(node)


def of_rows(info: Any) -> bool:
    """Whether a value has a row for each of the batch."""
    dims = info.type.tensor_type.shape.dim
    return bool(dims) and dims[0].dim_param == BATCH
