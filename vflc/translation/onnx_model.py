"""An ONNX graph as a model: its inputs as columns, its nodes one by one, its weights by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any

from vflc.diagnostics import Diagnostic, Refused
from vflc.onnx_file import Numbers, OnnxGraph, OnnxNode, OnnxPort
from vflc.translation import columns
from vflc.translation.graph import InputColumn, Value, concat, ordered, refuse
from vflc.translation.onnx_fold import COMPUTED, LAYOUT, folded
from vflc.translation.onnx_layers import LAYERS
from vflc.translation.onnx_ops import OPS
from vflc.translation.onnx_shapes import SHAPES
from vflc.translation.onnx_values import (
    AGAIN,
    GENERATED,
    HAND,
    MOST_MOVED,
    NodeCall,
    NodeValue,
    OnnxConstant,
    ShapeSizes,
)

TABLE: dict[str, Callable[[NodeCall], Any]] = {**OPS, **SHAPES, **LAYERS}
"""Every operator that is read, by its name; `docs/importing.md` lists them."""
PARTS = ("weight", "bias", "kernel", "gamma", "beta", "embedding", "embeddings")
"""What programs call the weights of a layer, behind the layer's name."""
EQUAL = "Weights that were equal when the file was written, and which it holds once, are apart here."
COMPUTED_WEIGHTS = (
    "`{}` is computed of weights or constants in the file: here it is a weight, which training changes."
)
UNREAD = (
    "The file does not read its input `{}`. `torch.onnx.export` merges inputs that are given as one tensor:"
    " give each its own."
)
MOST_AXIS = 10_000
MOST_COMPUTED = 1 << 24
"""Numbers that the constants of a file may be computed to have, all together."""


class OnnxModelReader:
    """Reads a graph node by node.

    Args:
        graph: a checked one.
        given: what inputs stand for, by name; columns where it says nothing.

    Raises:
        Refused: VFL0703, VFL0707 or VFL0709; each operator without a counterpart is named.
    """

    def __init__(self, graph: OnnxGraph, given: dict[str, Value] | None = None) -> None:
        self.graph = graph
        self.columns: list[InputColumn] = []
        self.notes: list[str] = []
        self.held: dict[str, Numbers] = {}
        self.room = MOST_COMPUTED + MOST_MOVED * sum(each.size for each in graph.constants.values())
        """Numbers that may still be computed of constants."""
        self._forms: dict[str, tuple[str, str]] = {}
        self._made: dict[str, Value] = {}
        self._readers = Counter(name for node in graph.nodes for name in node.inputs)
        self._readers.update(port.name for port in graph.outputs)
        self.batch = self._batch(given or {})
        nodes = self._needed()
        _check_known(nodes)
        self._known: dict[str, NodeValue] = {
            name: OnnxConstant(numbers, name) for name, numbers in graph.constants.items()
        }
        for port in graph.inputs:
            if not self._readers[port.name]:
                self.notes.append(UNREAD.format(port.name))
            self._known[port.name] = (given or {}).get(port.name) or self._column(port)
        for node in nodes:
            self._run(node)
        self.outputs = [(port.name, self._output(port)) for port in graph.outputs]
        self._share()

    # --- inputs and outputs -----------------------------------------------------------------------------

    def _batch(self, given: dict[str, Value]) -> int | None:
        """The size of the batch, where the file fixes it: what `torch.onnx.export` does by default."""
        firsts = {port.shape[0] for port in self.graph.inputs if port.shape}
        if len(firsts) > 1 and None not in firsts:
            sizes = ", ".join(f"`{port.name}` {list(port.shape or ())}" for port in self.graph.inputs[:4])
            refuse(
                "VFL0703", f"the inputs have no batch in common: {sizes}", "let the first axis be the rows"
            )
        return firsts.pop() if len(firsts) == 1 else None

    def _needed(self) -> list[OnnxNode]:
        """Nodes that an output depends on."""
        wanted, found = {port.name for port in self.graph.outputs}, list[OnnxNode]()
        for node in reversed(self.graph.nodes):
            if wanted & set(node.outputs):
                wanted |= set(node.inputs)
                found.append(node)
        return found[::-1]

    def _column(self, port: OnnxPort) -> Value:
        if not port.shape:
            refuse(
                "VFL0703",
                f"the input `{port.name}` has no axis for the rows",
                "give it the shape [batch] or [batch, n]",
            )
        rest = tuple(size or 0 for size in port.shape[1:])
        if not all(1 <= size <= MOST_AXIS for size in rest):
            refuse(
                "VFL0703",
                f"the input `{port.name}` has axes of no fixed size: {list(port.shape[1:])}",
                "fix the sizes of all axes but the first when you export the model",
            )
        kind = "string" if port.type == "string" else "float" if port.type.startswith("float") else "int"
        if len(rest) == 1 and rest[0] > 1 and self._taken_apart(port.name):
            members = [
                InputColumn(f"{port.name}{i + 1}", kind, (), part_of=port.name) for i in range(rest[0])
            ]
            self.columns += members
            return Value("raws", tuple(map(columns.raw, members)), rest)
        column = InputColumn(port.name, kind, rest)
        self.columns.append(column)
        return columns.raw(column)

    def _taken_apart(self, name: str) -> bool:
        """Whether a node reads some columns of a vector by themselves, or shifts the ids of each."""
        for node in self.graph.nodes:
            if name in node.inputs and node.op in ("Cast", "Identity"):
                if self._taken_apart(node.outputs[0]):
                    return True
            elif name in node.inputs[:1] and node.op in ("Slice", "Split", "Gather"):
                return True
            elif name in node.inputs and node.op == "Add":
                other = next((self.graph.constants.get(each) for each in node.inputs if each != name), None)
                if other is not None and other.whole:
                    return True
        return False

    def _output(self, port: OnnxPort) -> Value:
        found = self._known[port.name]
        if isinstance(found, Value) and found.op not in ("weight", "number"):
            value = self.joined(found, port.name) if found.op == "raws" else columns.numeric(found, port.name)
            while value.op == "reshape" and prod(value.shape) == 1:
                value = value.inputs[0]
            return value
        refuse("VFL0709", f"the output `{port.name}` does not depend on the rows", "export the model alone")

    def _run(self, node: OnnxNode) -> None:
        call = NodeCall(node, [self._known[name] if name else None for name in node.inputs], self)
        made: Any = folded(call)
        if made is None:
            self._only_known(call)
            if node.op not in TABLE:
                call.fail("computes with the rows, for which it has no counterpart")
            made = TABLE[node.op](call)
        found = made if isinstance(made, list) else [made]
        for name, value in zip(node.outputs, found, strict=False):
            if isinstance(value, OnnxConstant) and not value.source:
                value = OnnxConstant(value.numbers, name)
            elif isinstance(value, OnnxConstant) and node.op == "Identity" and value.numbers.uniform():
                value = OnnxConstant(value.numbers, name)  # torch merges weights that start equal
            self._known[name] = value
        for name in node.outputs[len(found) :]:
            if self._readers[name]:
                call.fail(f"has an output {name[:40]!r} that is not known here")

    def _only_known(self, call: NodeCall) -> None:
        known = call.node.op in ("Constant", "Shape", "ConstantOfShape")
        if not known and not any(isinstance(each, (Value, ShapeSizes)) for each in call.inputs):
            call.fail("computes with constants alone", "let the export fold constants")

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

    def offset(self, call: NodeCall, op: str) -> Value | None:
        """Columns whose ids are moved to rows of their own in one table, as in `embedding(x + offsets)`."""
        if len(call.inputs) != 2:
            return None
        for x, y in (call.inputs, call.inputs[::-1]):
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

    def _hold(self, constant: OnnxConstant, call: NodeCall) -> str:
        """The key under which the numbers of a weight are kept."""
        if constant.numbers.kind not in ("float32", "float64"):
            call.fail(f"has weights of {constant.numbers.kind}", "export it in float32 or float64")
        key = f"{constant.source}{constant.form}"
        self.held[key], self._forms[key] = constant.numbers, (constant.source, constant.form)
        return key

    def _named(self, call: NodeCall, constant: OnnxConstant) -> tuple[str, bool]:
        """What the person called the layer that a weight belongs to, or what it is; and whether they did."""
        if GENERATED.fullmatch(constant.source) is None:
            stem, _, last = constant.source.rpartition(".")
            return (stem if stem and last in PARTS else constant.source), True
        scope = [name for name in call.node.scope if not name.startswith("_")]
        return (scope[-1], True) if scope else (call.node.op.lower(), False)

    def weight(self, constant: OnnxConstant, call: NodeCall) -> Value:
        """A weight that arithmetic reads."""
        key = self._hold(constant, call)
        if key not in self._made:
            computed = constant.source not in self.graph.constants or GENERATED.fullmatch(constant.source)
            name, named = self._named(call, constant)
            name = constant.source if named and GENERATED.fullmatch(constant.source) is None else name
            if computed:
                self.notes.append(COMPUTED_WEIGHTS.format(call.model.shown(constant)))
            frozen = self.graph.kinds.get(constant.source) == "BUFFER"
            init = "zeros" if not any(constant.numbers.elements) else "uniform"
            attrs = {"init": init, "frozen": frozen}
            self._made[key] = Value("weight", (), constant.shape, attrs, name, True, {"": key})
        return self._made[key]

    def shown(self, constant: OnnxConstant) -> str:
        return constant.source[:60]

    def dense(self, call: NodeCall, x: Value, kernel: OnnxConstant) -> Value:
        """A fully connected layer, still without a bias."""
        if not x.shape or x.shape[-1] != kernel.shape[0]:
            call.fail(f"multiplies {list(x.shape)} a row by {list(kernel.shape)}", AGAIN, "VFL0707")
        units = kernel.shape[1]
        attrs = {"units": units, "bias": False, "activation": "linear", "init": "glorot_uniform"}
        return self.layer(call, Value("dense", (x,), (*x.shape[:-1], units), attrs), {"kernel": kernel})

    def layer(self, call: NodeCall, value: Value, weights: dict[str, OnnxConstant]) -> Value:
        """A layer with its weights, named after the first of them."""
        value.weights = {part: self._hold(constant, call) for part, constant in weights.items()}
        value.layer, value.named = self._named(call, next(iter(weights.values())))
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

    def takes_bias(self, call: NodeCall, at: int, x: Value, bias: OnnxConstant) -> bool:
        """Whether a sum is of a product with a kernel, which nothing else reads, and its bias."""
        alone = x.op == "dense" and self._readers[call.node.inputs[at]] == 1
        return alone and self.give_bias(x, bias)

    def embed(self, call: NodeCall, raw: Value, table: OnnxConstant) -> Value:
        """Rows of a table by the ids of a column."""
        rows, dim = table.shape
        feature = columns.ids(raw, rows, call.name)
        value = Value(
            "embed", (feature,), (*feature.shape, dim), {"rows": rows, "dim": dim, "init": "uniform"}
        )
        return self.layer(call, value, {"table": table})

    def _share(self) -> None:
        """Weights that several layers read: shared, or their own where they were only equal."""
        uses: dict[str, list[tuple[Value, str]]] = {}
        for value in ordered([value for _, value in self.outputs]):
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


def _check_known(nodes: Sequence[OnnxNode]) -> None:
    """Names every operator without a counterpart at once; VFL0709."""
    known = TABLE.keys() | LAYOUT.keys() | COMPUTED.keys()
    found = [
        Diagnostic("VFL0709", f"{node.shown} has no counterpart", None, HAND)
        for node in nodes
        if node.domain or node.op not in known
    ]
    if found:
        raise Refused(found)
