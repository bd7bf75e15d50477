"""Columns and weights of an ONNX graph: what its nodes read of the rows, and the numbers that they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import prod

from vflc.onnx_file import Numbers, OnnxGraph, OnnxNode, OnnxPort
from vflc.translation import columns
from vflc.translation.graph import Value, concat, ordered, refuse
from vflc.translation.onnx_values import AGAIN, GENERATED, HAND, MOST_MOVED, NodeValue, OnnxConstant, fail

PARTS = ("weight", "bias", "kernel", "gamma", "beta", "embedding", "embeddings")
"""What programs call the weights of a layer, behind the layer's name."""
EQUAL = "Weights that were equal when the file was written, and which it holds once, are apart here."
COMPUTED_WEIGHTS = (
    "`{}` is computed of weights or constants in the file: here it is a weight, which training changes."
)
MOST_COMPUTED = 1 << 24
"""Numbers that the constants of a file may be computed to have, all together."""


class OnnxParts:
    """What the nodes of a graph share.

    Args:
        graph: a checked one.
    """

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.notes: list[str] = []
        self.held: dict[str, Numbers] = {}
        self.room = MOST_COMPUTED + MOST_MOVED * sum(each.size for each in graph.constants.values())
        """Numbers that may still be computed of constants."""
        self.batch = _batch(graph.inputs)
        self._forms: dict[str, tuple[str, str]] = {}
        self._made: dict[str, Value] = {}
        self._readers = Counter(name for node in graph.nodes for name in node.inputs)
        self._readers.update(port.name for port in graph.outputs)

    # --- columns ----------------------------------------------------------------------------------------

    def joined(self, raws: Value, layer: str) -> Value:
        """Several columns side by side, as a vector of numbers."""
        if "offsets" in raws.attrs:
            refuse(
                "VFL0709", f"`{layer}` computes with ids of several columns", "look them up in an Embedding"
            )
        parts = [columns.numeric(self.narrowed(each, (1,)), layer) for each in raws.inputs]
        return concat(parts, 0, layer) if len(parts) > 1 else parts[0]

    def narrowed(self, raw: Value, shape: tuple[int, ...]) -> Value:
        """A single column with or without an axis of size 1."""
        return Value("raw", (), shape, raw.attrs)

    def all_ids(self, given: Sequence[NodeValue]) -> bool:
        """Whether all are columns as they stand in the table, one by one."""
        return all(
            isinstance(v, Value) and (v.op == "raws" or (v.op == "raw" and prod(v.shape) == 1)) for v in given
        )

    def raws(self, given: Iterable[Value]) -> Value:
        """Columns side by side."""
        members = [each for v in given for each in (v.inputs if v.op == "raws" else (v,))]
        return Value("raws", tuple(self.narrowed(each, ()) for each in members), (len(members),))

    def some(self, x: Value, start: int, stop: int, layer: str) -> Value:
        """Some of the columns of a vector."""
        if "offsets" in x.attrs or (x.op == "raw" and prod(x.shape) != 1):
            refuse("VFL0709", f"`{layer}` takes a part of `{x.attrs}`"[:80], HAND)
        if x.op == "raw":
            return x
        members = x.inputs[start:stop]
        return (
            self.narrowed(members[0], (1,)) if len(members) == 1 else Value("raws", members, (len(members),))
        )

    def offset(self, inputs: Sequence[NodeValue], op: str) -> Value | None:
        """Columns whose ids are moved to rows of their own in one table, as in `embedding(x + offsets)`."""
        if len(inputs) != 2:
            return None
        for x, y in (inputs, inputs[::-1]):
            if not isinstance(y, OnnxConstant) or not y.numbers.whole:
                continue
            if op == "add" and isinstance(x, Value) and x.op == "raws" and y.numbers.size == len(x.inputs):
                return Value("raws", x.inputs, x.shape, {"offsets": list(y.numbers.elements)})
        return None

    def tables(self, raws: Value, table: OnnxConstant) -> list[OnnxConstant]:
        """The table of each column: its rows of the whole where ids are moved, or the whole for all."""
        starts = raws.attrs.get("offsets")
        if starts is None:
            return [table] * len(raws.inputs)
        ends = [*starts[1:], table.shape[0]]
        if starts[0] < 0 or any(a >= b for a, b in zip(starts, ends, strict=True)):
            refuse("VFL0709", f"`{table.source}` has no rows of its own for each column: {starts[:8]}", HAND)
        return [
            table.changed(table.numbers.sliced([slice(a, b), slice(None)]), f"rows{a}:{b}")
            for a, b in zip(starts, ends, strict=True)
        ]

    # --- weights ----------------------------------------------------------------------------------------

    def is_weight(self, constant: OnnxConstant) -> bool:
        """Whether a single number is trained, and no constant of a formula."""
        if self.graph.kinds:
            return self.graph.kinds.get(constant.source) == "PARAMETER"
        of_torch = self.graph.producer == "pytorch" and constant.source in self.graph.constants
        named = GENERATED.fullmatch(constant.source) is None
        return constant.numbers.floats and named and (of_torch or bool(constant.shape))

    def _hold(self, constant: OnnxConstant, node: OnnxNode) -> str:
        """The key under which the numbers of a weight are kept."""
        if constant.numbers.kind not in ("float32", "float64"):
            fail(node, f"has weights of {constant.numbers.kind}", "export it in float32 or float64")
        key = f"{constant.source}{constant.form}"
        self.held[key], self._forms[key] = constant.numbers, (constant.source, constant.form)
        return key

    def _named(self, node: OnnxNode, constant: OnnxConstant) -> tuple[str, bool]:
        """What the person called the layer that a weight belongs to, or what it is; and whether they did."""
        if GENERATED.fullmatch(constant.source) is None:
            stem, _, last = constant.source.rpartition(".")
            return (stem if stem and last in PARTS else constant.source), True
        scope = [name for name in node.scope if not name.startswith("_")]
        return (scope[-1], True) if scope else (node.op.lower(), False)

    def weight(self, constant: OnnxConstant, node: OnnxNode) -> Value:
        """A weight that arithmetic reads."""
        key = self._hold(constant, node)
        if key not in self._made:
            computed = constant.source not in self.graph.constants or GENERATED.fullmatch(constant.source)
            name, named = self._named(node, constant)
            name = constant.source if named and GENERATED.fullmatch(constant.source) is None else name
            if computed:
                self.notes.append(COMPUTED_WEIGHTS.format(self.shown(constant)))
            frozen = self.graph.kinds.get(constant.source) == "BUFFER"
            init = "zeros" if not any(constant.numbers.elements) else "uniform"
            attrs = {"init": init, "frozen": frozen}
            self._made[key] = Value("weight", (), constant.shape, attrs, name, True, {"": key})
        return self._made[key]

    def shown(self, constant: OnnxConstant) -> str:
        return constant.source[:60]

    def dense(self, node: OnnxNode, x: Value, kernel: OnnxConstant) -> Value:
        """A fully connected layer, still without a bias."""
        if not x.shape or x.shape[-1] != kernel.shape[0]:
            fail(node, f"multiplies {list(x.shape)} a row by {list(kernel.shape)}", AGAIN, "VFL0707")
        units = kernel.shape[1]
        attrs = {"units": units, "bias": False, "activation": "linear", "init": "glorot_uniform"}
        return self.layer(node, Value("dense", (x,), (*x.shape[:-1], units), attrs), {"kernel": kernel})

    def layer(self, node: OnnxNode, value: Value, weights: dict[str, OnnxConstant]) -> Value:
        """A layer with its weights, named after the first of them."""
        value.weights = {part: self._hold(constant, node) for part, constant in weights.items()}
        value.layer, value.named = self._named(node, next(iter(weights.values())))
        return value

    def give_bias(self, made: Value, bias: OnnxConstant) -> bool:
        """Gives a layer its bias, if that is a number for each unit."""
        numbers, units = bias.numbers, made.attrs["units"]
        fits = numbers.floats and numbers.size == units and numbers.shape[-1:] == (units,)
        if made.attrs["bias"] or not fits:
            return False
        flat = bias if numbers.rank == 1 else bias.changed(numbers.reshaped((units,)), "flat")
        key = f"{flat.source}{flat.form}"
        self.held[key], self._forms[key] = flat.numbers, (flat.source, flat.form)
        made.weights, made.attrs["bias"] = {**made.weights, "bias": key}, True
        return True

    def takes_bias(self, node: OnnxNode, at: int, x: Value, bias: OnnxConstant) -> bool:
        """Whether a sum is of a product with a kernel, which nothing else reads, and its bias."""
        alone = x.op == "dense" and self._readers[node.inputs[at]] == 1
        return alone and self.give_bias(x, bias)

    def embed(self, node: OnnxNode, raw: Value, table: OnnxConstant) -> Value:
        """Rows of a table by the ids of a column."""
        rows, dim = table.shape
        feature = columns.ids(raw, rows, node.name)
        value = Value(
            "embed", (feature,), (*feature.shape, dim), {"rows": rows, "dim": dim, "init": "uniform"}
        )
        return self.layer(node, value, {"table": table})

    def share(self, outputs: Sequence[Value]) -> None:
        """Weights that several layers read: shared, or their own where they were only equal."""
        uses: dict[str, list[tuple[Value, str]]] = {}
        for value in ordered(outputs):
            for part, key in value.weights.items():
                uses.setdefault(self._forms[key][0], []).append((value, part))
        for source, found in uses.items():
            if len(found) > 1:
                self._several(source, found)

    def _several(self, source: str, found: list[tuple[Value, str]]) -> None:
        keys = [value.weights[part] for value, part in found]
        if self.held[keys[0]].uniform() and len({part for _, part in found} | {"table"}) > 1:
            for number, (value, part) in enumerate(found[1:], 2):
                value.weights[part] = f"{keys[0]}#{number}"
                self.held[value.weights[part]] = self.held[keys[number - 1]]
            self.notes.append(EQUAL)
            return
        rows = [self._forms[key][1] for key in keys]
        if len(set(keys)) == len(keys) and all(form.startswith(".rows") for form in rows):
            return  # each column has rows of its own
        same = len({value.op for value, _ in found}) == 1 and len({str(v.weights) for v, _ in found}) == 1
        if not same or found[0][0].op not in ("dense", "embed"):
            names = ", ".join(f"`{value.layer}`" for value, _ in found[:3])
            refuse(
                "VFL0709",
                f"the weight `{source[:60]}` is read in several forms, by {names}",
                "give each a weight of its own",
            )
        for value, _ in found:
            value.many = True


def _batch(ports: Sequence[OnnxPort]) -> int | None:
    """The size of the batch, where the file fixes it: what `torch.onnx.export` does by default."""
    firsts = {port.shape[0] for port in ports if port.shape}
    if len(firsts) > 1 and None not in firsts:
        sizes = ", ".join(f"`{port.name}` {list(port.shape or ())}" for port in ports[:4])
        refuse("VFL0703", f"the inputs have no batch in common: {sizes}", "let the first axis be the rows")
    return firsts.pop() if len(firsts) == 1 else None
