"""Weight of evidence: what the bin of a column says of a label, fitted before training.

Its table is no part of what an optimizer trains: it follows from how many training rows of each bin have the
label. These are counted where the label is, to which the bins cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vflc.ir.build import Initializer
from vflc.ir.graph import Node
from vflc.ir.model import FittedTable
from vflc.ir.types import Axis, TensorType
from vflc.ops.align import numeric
from vflc.ops.arithmetic import vjp_flat
from vflc.ops.elementwise import comparable
from vflc.ops.kinds import Nodes, flat
from vflc.ops.layers import layer
from vflc.ops.registry import Attrs, Op, OpError, OpSample, function, register
from vflc.ops.rules import number, onnx_node, tensor
from vflc.ops.traits import NONE, same

if TYPE_CHECKING:
    from vflc.ir.build import Build


def infer_told(types: Sequence[TensorType], attrs: Attrs) -> TensorType:
    (ids,) = types
    if ids.dtype != "int":
        raise OpError(f"told needs ids, not {ids.dtype} values {ids}")
    return ids


register(
    Op(
        "told", "Ids as they are, at another place than their own, as the spec asks; no gradient.",
        infer_told, onnx_node("Identity"), lambda k, node, inputs, types: k.ops.copy(inputs[0]),
        lambda node, inputs, types: inputs[0], vjp_flat,
        (OpSample((tensor(None, dtype="int"),), {}, lambda rng: (rng.integers(0, 9, 5).astype("int32"),)),),
        slopes=NONE, bounds=same, openly=True,
    )
)  # fmt: skip


def woe(
    b: Build,
    fields: Nodes,
    label: Node,
    weight: Node | None = None,
    smoothing: float = 1.0,
    monotone: bool = False,
) -> Node:
    """The weight of evidence of each field's bin for a label of 0 or 1: [field], or [1] for one feature.

    ln(p/q), of the share p of the rows with the label that the bin has, and the share q of those without
    (Good, Probability and the Weighing of Evidence, 1950; Siddiqi, Scorecards, 2006, with the other sign). It
    is fitted to the training rows before the first step, at the label's party, to which the bins cross;
    nothing comes back. `weight` says how much each row counts. Each bin counts as if it had `smoothing` rows
    more, with the label in as large a share of them as of all rows: a bin without rows has 0. With
    `monotone`, neighbouring bins are put together until evidence only rises, or only falls.
    """
    if label.op != "label" or label.attrs["kind"] not in ("number", "id"):
        hint = "name a label: woe(alice.features, bob.liked)"
        called = label.attrs.get("name", label.type)
        raise OpError(f"woe for {called}, which is no label of one value a row", hint, "VFL0234")
    if (label.attrs["rows"] or 2) > 2:
        hint = "make it a condition, as in `label liked = Rating > 3`"
        raise OpError(f"woe for a label of {label.attrs['rows']} classes", hint, "VFL0234")
    if not smoothing > 0:
        hint = "a bin in which all rows are alike needs some, or its evidence has no end"
        raise OpError(f"woe with smoothing = {smoothing:g}", hint, "VFL0205")
    if weight is not None and weight.op != "example_weight":
        hint = "declare one at the label's party: weight Paid = Amount"
        raise OpError(f"woe with a weight {weight.type}, which is no weight of a table", hint, "VFL0203")
    nodes = [_bins(node) for node in flat([fields])]
    if not nodes:
        raise OpError("woe of no features", "give it a feature or a list of them", "VFL0233")
    with b.within(scope=layer(b, "woe"), place=label.attrs["party"]):
        classes = _classes(b, label, weight)
        how = (None if weight is None else weight.id, float(smoothing), monotone)
        found = [_evidence(b, node, label, classes, *how) for node in nodes]
    return found[0] if len(found) == 1 else b.op("concat", *found, axis=1)


def _bins(node: Node) -> Node:
    if node.op != "feature" or node.attrs["kind"] != "id":
        called = node.attrs["name"] if node.op == "feature" else node.type
        hint = "give it a feature with one bin a row: quantiles(10), bucketize(18, 25, 35) or vocab(…)"
        raise OpError(f"woe of {called}, which has no bins", hint, "VFL0233")
    return node


def _classes(b: Build, label: Node, weight: Node | None) -> Node:
    """How much each row counts as one with the label, and as one without: [2]."""
    y = comparable(b, label)
    both = b.op("concat", y, b.op("sub", number(b, 1), y), axis=1)
    present = label.attrs.get("present")
    for each in (weight, None if present is None else b.graph[present]):
        both = both if each is None else b.op("mul", both, numeric(b, each))
    return both


def _evidence(
    b: Build,
    feature: Node,
    label: Node,
    classes: Node,
    counted_by: str | None,
    smoothing: float,
    monotone: bool,
) -> Node:
    """Reads the table of one feature [1], which is fitted to the `classes` [2] of the rows of each bin."""
    bins = Axis("row", feature.attrs["rows"])
    ids = b.op("told", feature)
    counts = b.op("rows", ids, classes, axes=(bins, Axis(None, 2)))
    table = b.weight(
        feature.attrs["name"],
        (bins, Axis("field", 1)),
        Initializer("zeros"),
        trainable=False,
        table=True,
        sources=counts.sources,
    )
    fit = FittedTable(table.id, counts.id, feature.id, label.id, counted_by, smoothing, monotone)
    b.fits.append(fit)
    return b.op("gather", table, ids, missing=False)


function(woe)
