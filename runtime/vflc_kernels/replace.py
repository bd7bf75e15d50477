"""Replaces all that our operators do faster in an ONNX graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc_kernels import DOMAIN
from vflc_kernels.dense import dense
from vflc_kernels.expands import expands
from vflc_kernels.fuse import fuse
from vflc_kernels.gathers import gathers
from vflc_kernels.graphs import drop_identities, drop_unread, kinds
from vflc_kernels.left import shared_by_onnxruntime
from vflc_kernels.sums import sums

if TYPE_CHECKING:
    import onnx


def replace(model: onnx.ModelProto, bfloat16: bool = False) -> tuple[list[str], bool]:
    """Replaces in place; outputs are the same to rounding.

    With `bfloat16` factors of matrix products are rounded to it, where this processor multiplies them faster.
    Where nothing is replaced, a caller should keep the model as it was.

    Returns:
        What it replaced, one text a node made, and whether onnxruntime is to share out what is left.
    """
    import onnx

    graph = model.graph
    drop_identities(graph)
    drop_unread(graph)
    found = kinds(model)
    texts = [*dense(graph, found, bfloat16), *gathers(graph, found), *fuse(graph, found)]
    texts += [*sums(graph, found), *expands(graph, found)]
    if texts and all(each.domain != DOMAIN for each in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    return texts, shared_by_onnxruntime(graph, found)
