"""What an ONNX file says of itself, read without any library: inputs, outputs, operators, weights.

There is one reader, for files that are run as a piece of a model and for those that a spec is made of. It
takes a file as a whole or not at all: every name leads to one value, which is there before it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import iter_unpack
from typing import Any

from msgspec import Struct

from vflc_common.onnx_messages import MESSAGES
from vflc_common.onnx_tensors import ELEMENTS, MOST_AXES, FileTensor, read_tensor, utf8
from vflc_common.onnx_wire import OnnxFileError, WireReader

MOST_BYTES = 2 << 30
"""Of a file: what a protobuf can hold."""
KIND_OF_TORCH = "pkg.torch.export.graph_signature.InputSpec.kind"
SCOPES_OF_TORCH = "pkg.torch.onnx.name_scopes"

FileDim = int | str | None
"""Of a shape: a size, the name of one that only a run knows, or nothing."""


class WirePort(Struct, frozen=True):
    """An input or output: `dims` are None where the file has no shape for it."""

    name: str
    element: str
    dims: tuple[FileDim, ...] | None


class WireNode(Struct, frozen=True):
    """One operator; an empty name among `inputs` leaves an optional one out.

    `attributes` are numbers, texts, lists of them, and tensors; `odd` says of those that are something else
    what. `scopes` are the modules that torch says it came from, as it writes them.
    """

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    odd: Mapping[str, str]
    scopes: str | None = None


class FileModel(Struct, frozen=True):
    """A file.

    Args:
        ir: the version of the format.
        opsets: the version of each domain's operators; `""` is ONNX itself.
        name: of the graph.
        inputs: those that a run feeds; weights that are listed as inputs, too, are not among them.
        outputs: what comes out.
        nodes: each after the nodes whose outputs it reads.
        tensors: weights and constants by name.
        producer: the program that wrote the file, as in `pytorch`.
        metadata: what its maker wrote beside it.
        kinds: what torch says that a constant is, `PARAMETER` or `BUFFER`, of those of which it says it.
        more: what it has besides, which no model that is read here has.
    """

    ir: int
    opsets: Mapping[str, int]
    name: str
    inputs: tuple[WirePort, ...]
    outputs: tuple[WirePort, ...]
    nodes: tuple[WireNode, ...]
    tensors: Mapping[str, FileTensor]
    producer: str
    metadata: Mapping[str, str]
    kinds: Mapping[str, str]
    more: tuple[str, ...] = ()

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        return self.opsets[""]


def read_onnx(content: bytes) -> FileModel:
    """The model in a file's bytes.

    Raises:
        OnnxFileError: there is no whole one.
    """
    if len(content) > MOST_BYTES:
        raise OnnxFileError(f"it is larger than {MOST_BYTES >> 20} MiB")
    model = WireReader(content, MESSAGES).read("model")
    if "graph" not in model or "ir" not in model:
        raise OnnxFileError("it has no graph")
    graph = model["graph"]
    opsets = _by_name(
        "versions of the operators of", ((_domain(e), e.get("version", 0)) for e in model["opsets"])
    )
    if "" not in opsets:
        raise OnnxFileError("it does not say which version of ONNX's operators it uses")
    lists = {
        "functions": model["functions"], "training": model["training"],
        "sparse weights": graph["sparse"], "quantized weights": graph["quantized"],
    }  # fmt: skip
    tensors = _by_name("tensors", ((each.name, each) for each in map(read_tensor, graph["tensors"])))
    found = FileModel(
        model["ir"],
        opsets,
        graph.get("name", ""),
        tuple(value for value in map(_value, graph["inputs"]) if value.name not in tensors),
        tuple(map(_value, graph["outputs"])),
        tuple(map(_node, graph["nodes"])),
        tensors,
        model.get("producer", ""),
        {each.get("key", ""): each.get("value", "") for each in model["metadata"]},
        dict(_kinds(graph["values"])),
        tuple(word for word, listed in lists.items() if listed),
    )
    _check_flow(found)
    return found


def _by_name(what: str, entries: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, entry in entries:
        if name in found:
            raise OnnxFileError(f"it has two {what} `{name or 'ai.onnx'}`")
        found[name] = entry
    return found


def _domain(item: Mapping[str, Any]) -> str:
    """A domain of operators; ONNX's own has two names."""
    domain = item.get("domain", "") + item.get("overload", "")
    return "" if domain == "ai.onnx" else domain


def _kinds(values: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    for value in values:
        for each in value["metadata"]:
            if each.get("key") == KIND_OF_TORCH:
                yield value.get("name", ""), each.get("value", "")


def _check_flow(model: FileModel) -> None:
    """Refuses names that are made twice, or read before they are made."""
    made: set[str] = set()
    for name in model.tensors:
        _gives(made, name, "a weight")
    for value in model.inputs:
        _gives(made, value.name, "an input")
    for node in model.nodes:
        for name in node.inputs:
            if name and name not in made:
                shown = f"`{node.name[:80]}` ({node.op[:40]})"
                raise OnnxFileError(f"its operator {shown} reads `{name}`, which is not made before it")
        for name in filter(None, node.outputs):
            _gives(made, name, "a value")
    outputs = [value.name for value in model.outputs]
    absent = next((name for name in outputs if name not in made), None)
    if absent is not None:
        raise OnnxFileError(f"nothing makes its output `{absent}`")
    if len(set(outputs)) < len(outputs):
        raise OnnxFileError("two of its outputs have the same name")


def _gives(made: set[str], name: str, what: str) -> None:
    if not name or name in made:
        raise OnnxFileError(f"it makes `{name}` twice" if name else f"it has {what} without a name")
    made.add(name)


def _value(item: Mapping[str, Any]) -> WirePort:
    name, type_ = item.get("name", ""), item.get("type", {})
    tensor = type_.get("tensor")
    if tensor is None or any(word in type_ for word in ("sequence", "map", "opaque", "sparse", "optional")):
        raise OnnxFileError(f"`{name}` is no tensor", "shapes")
    number = tensor.get("element", 0)
    element = ELEMENTS.get(number)
    if element is None:
        help = "use float32, float64, int32, int64, bool or string"
        raise OnnxFileError(f"`{name}` has elements of ONNX's type {number}", "shapes", help)
    if "shape" not in tensor:
        return WirePort(name, element, None)
    dims: list[FileDim] = []
    for dim in tensor["shape"]["dims"]:
        if "size" in dim and "name" in dim:
            raise OnnxFileError(f"`{name}` has an axis with both a size and a name", "shapes")
        dims.append(dim.get("size", dim.get("name")))
    if len(dims) > MOST_AXES or any(isinstance(size, int) and not 0 <= size < 1 << 31 for size in dims):
        raise OnnxFileError(f"`{name}` has the impossible sizes {str(dims)[:80]}")
    return WirePort(name, element, tuple(dims))


def _node(item: Mapping[str, Any]) -> WireNode:
    op = item.get("op", "")
    attributes = _by_name(
        "attributes of one operator", ((each.get("name", ""), each) for each in item["attributes"])
    )
    odd = {name: what for name, each in attributes.items() if (what := _odd(each)) is not None}
    scopes = (each.get("value", "") for each in item["metadata"] if each.get("key") == SCOPES_OF_TORCH)
    return WireNode(
        op,
        _domain(item),
        item.get("name") or next(filter(None, item["outputs"]), ""),
        tuple(item["inputs"]),
        tuple(item["outputs"]),
        {name: _attribute(each, op) for name, each in attributes.items() if name not in odd},
        odd,
        next(scopes, None),
    )


_KINDS = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}
"""The fields of an attribute by its kind, as `onnx.AttributeProto` numbers them."""
_EMPTY = {"f": 0.0, "i": 0, "s": b""}


def _odd(item: Mapping[str, Any]) -> str | None:
    """What an attribute is that is of another kind, or whose kind and value disagree; None of any other."""
    field = _KINDS.get(item.get("kind", 0))
    given = {
        name for name, value in item.items() if name not in ("name", "kind") and (name in _EMPTY or value)
    }
    if {"graph", "graphs"} & given:
        return "a graph of its own, as loops and branches have"
    if field is None or not given <= {field} or (field == "t" and "t" not in item):
        return "no number, text or tensor"
    return None


def _attribute(item: Mapping[str, Any], op: str) -> Any:
    """An attribute's value."""
    field = _KINDS[item["kind"]]
    value = item.get(field, _EMPTY.get(field))
    if field == "t":
        return read_tensor(value)
    if field in ("s", "strings"):
        texts = [
            utf8(each, f"an attribute of its operator `{op}`")
            for each in ([value] if field == "s" else value)
        ]
        return texts[0] if field == "s" else texts
    if field == "floats":
        content = b"".join(value)
        if len(content) % 4:
            raise OnnxFileError("a list of numbers ends in the middle of one")
        return [number for (number,) in iter_unpack("<f", content)]
    return value
