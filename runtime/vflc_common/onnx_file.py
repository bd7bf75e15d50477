"""What an ONNX file says of itself, read without any library: inputs, outputs, operators, weights."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from math import prod
from struct import iter_unpack
from typing import Any

from msgspec import Struct

from vflc_common.onnx_wire import MOST_FIELDS, OnnxFileError, WireField, WireMessages, WireReader, varints

MOST_BYTES = 1 << 30
"""Of a file."""
MOST_AXES = 16
ELEMENTS = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
"""Element types as `onnx.TensorProto` numbers them; ONNX has more, which are not read here."""
FORMS = {
    "float32": "f", "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "int32": "i", "int64": "q",
    "bool": "?", "float16": "e", "float64": "d", "uint32": "I", "uint64": "Q",
}  # fmt: skip
"""The same as `struct` and `array` name them."""
_HELD = {
    "float32": "floats",
    "float64": "doubles",
    "int64": "int64s",
    "uint32": "uint64s",
    "uint64": "uint64s",
}
"""The field that holds elements which are not raw; `int32s` for the others."""

_F, _BYTES = WireField, "bytes"
_SKIP = WireField("skipped", "skip")
MESSAGES: WireMessages = {
    "model": {
        1: _F("ir", "int"), 7: _F("graph", "graph"), 8: _F("opsets", "opset", True),
        20: _F("training", _BYTES, True), 25: _F("functions", _BYTES, True),
        2: _F("producer", "text"), **dict.fromkeys((3, 4, 5, 6, 14, 26), _SKIP),
    },
    "opset": {1: _F("domain", "text"), 2: _F("version", "int")},
    "graph": {
        1: _F("nodes", "node", True), 5: _F("tensors", "tensor", True),
        11: _F("inputs", "value", True), 12: _F("outputs", "value", True),
        15: _F("sparse", _BYTES, True), **dict.fromkeys((2, 10, 13, 14, 16), _SKIP),
    },
    "node": {
        1: _F("inputs", "text", True), 2: _F("outputs", "text", True), 4: _F("op", "text"),
        5: _F("attributes", "attribute", True), 7: _F("domain", "text"),
        8: _F("overload", "text"), **dict.fromkeys((3, 6, 9, 10), _SKIP),
    },
    "attribute": {
        1: _F("name", "text"), 2: _F("f", "float"), 3: _F("i", "int"), 4: _F("s", _BYTES),
        5: _F("t", "tensor"), 6: _F("graph", _BYTES), 7: _F("floats", "numbers", True),
        8: _F("ints", "ints"), 9: _F("strings", _BYTES, True), 10: _F("tensors", _BYTES, True),
        11: _F("graphs", _BYTES, True), 13: _SKIP, 14: _F("type", _BYTES),
        15: _F("types", _BYTES, True), 20: _F("kind", "int"), 21: _F("reference", "text"),
        22: _F("sparse", _BYTES), 23: _F("sparses", _BYTES, True),
    },
    "tensor": {
        1: _F("dims", "ints"), 2: _F("element", "int"), 3: _F("segment", _BYTES),
        4: _F("floats", "numbers", True), 5: _F("int32s", "numbers", True),
        6: _F("strings", _BYTES, True), 7: _F("int64s", "numbers", True), 8: _F("name", "text"),
        9: _F("raw", _BYTES), 10: _F("doubles", "numbers", True),
        11: _F("uint64s", "numbers", True), 12: _SKIP, 13: _F("outside", _BYTES, True),
        14: _F("location", "int"), 16: _SKIP,
    },
    "value": {1: _F("name", "text"), 2: _F("type", "type"), 3: _SKIP, 4: _SKIP},
    "type": {
        1: _F("tensor", "tensor_type"), 4: _F("sequence", _BYTES), 5: _F("map", _BYTES), 6: _SKIP,
        7: _F("opaque", _BYTES), 8: _F("sparse", _BYTES), 9: _F("optional", _BYTES),
    },
    "tensor_type": {1: _F("element", "int"), 2: _F("shape", "shape")},
    "shape": {1: _F("dims", "dim", True)},
    "dim": {1: _F("size", "int"), 2: _F("name", "text"), 3: _SKIP},
}  # fmt: skip
"""The messages of onnx.proto; what no model here may have is kept as bytes, to be seen and refused."""


class FileTensor(Struct, frozen=True):
    """Numbers that lie in the file: a weight, or a constant.

    `outside` where they lie in another file; `held` are the fields that hold them here.
    """

    name: str
    dims: tuple[int, ...]
    element: str
    outside: bool
    held: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"FileTensor({self.name!r}, {self.element} {list(self.dims)})"

    @property
    def size(self) -> int:
        return prod(self.dims)

    def content(self) -> bytes | memoryview:
        """The bytes of the numbers in order, little-endian.

        Raises:
            OnnxFileError: they do not fill the shape.
        """
        held = self.held
        lists = [name for name in ("floats", "int32s", "int64s", "doubles", "uint64s") if held[name]]
        due = _HELD.get(self.element, "int32s")
        content: bytes | memoryview = b""
        if "raw" in held:
            content = held["raw"]
        elif lists == [due]:
            content = b"".join(held[due])
            if due not in ("floats", "doubles"):
                content = self._packed(varints(memoryview(content), MOST_FIELDS))
        if ("raw" in held and lists) or any(name != due for name in lists):
            raise OnnxFileError(f"its tensor `{self.name}` holds its numbers twice")
        if len(content) != self.size * array(_item(self.element)).itemsize:
            raise OnnxFileError(f"its tensor `{self.name}` has not as many numbers as its shape")
        return content

    def _packed(self, numbers: list[int]) -> bytes:
        form = "H" if self.element == "float16" else _item(self.element)
        if self.element == "bool":
            numbers = [int(bool(number)) for number in numbers]
        try:
            return array(form, numbers).tobytes()
        except OverflowError:
            raise OnnxFileError(f"a number of its tensor `{self.name}` is no {self.element}") from None


def _item(element: str) -> str:
    """An element type as `array` names one of its size."""
    return {"bool": "B", "float16": "H"}.get(element, FORMS[element])


FileDim = int | str | None
"""Of a shape: a size, the name of one that only a run knows, or nothing."""


class WirePort(Struct, frozen=True):
    """An input or output: `dims` are None where the file has no shape for it."""

    name: str
    element: str
    dims: tuple[FileDim, ...] | None


class WireNode(Struct, frozen=True):
    """One operator; an empty name among `inputs` leaves an optional one out.

    `attributes` are numbers, texts, lists of them, and tensors; `odd` names those that are something else.
    """

    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    odd: tuple[str, ...] = ()


class FileModel(Struct, frozen=True):
    """A file.

    Args:
        opset: of the default domain.
        inputs: those that a run feeds; weights that are listed as inputs, too, are not among them.
        tensors: weights and constants by name.
        producer: the program that wrote the file, as in `pytorch`.
        more: what it has besides, which no model that is used here has.
    """

    ir: int
    opset: int
    inputs: tuple[WirePort, ...]
    outputs: tuple[WirePort, ...]
    nodes: tuple[WireNode, ...]
    tensors: Mapping[str, FileTensor]
    producer: str
    more: tuple[str, ...] = ()


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
    opsets = [
        int(each.get("version", 0)) for each in model["opsets"] if each.get("domain", "") in ("", "ai.onnx")
    ]
    if len(opsets) != 1:
        raise OnnxFileError("it does not say which version of ONNX's operators it uses")
    more = [word for word in ("functions", "training") if model[word]] + ["sparse weights"] * bool(
        graph["sparse"]
    )
    tensors = _by_name([_tensor(each) for each in graph["tensors"]])
    return FileModel(
        model["ir"],
        opsets[0],
        tuple(value for value in map(_value, graph["inputs"]) if value.name not in tensors),
        tuple(map(_value, graph["outputs"])),
        tuple(map(_node, graph["nodes"])),
        tensors,
        model.get("producer", ""),
        tuple(more),
    )


def _by_name(tensors: list[FileTensor]) -> dict[str, FileTensor]:
    found: dict[str, FileTensor] = {}
    for tensor in tensors:
        if tensor.name in found:
            raise OnnxFileError(f"it has two tensors `{tensor.name}`")
        found[tensor.name] = tensor
    return found


def _tensor(item: Mapping[str, Any]) -> FileTensor:
    name, dims = item.get("name", ""), tuple(item["dims"])
    element = ELEMENTS.get(item.get("element", 0))
    if element is None or item["strings"] or "segment" in item:
        raise OnnxFileError(f"its tensor `{name}` is not of numbers", "parts")
    if len(dims) > MOST_AXES or any(size < 0 for size in dims) or prod(dims) > MOST_BYTES:
        raise OnnxFileError(f"its tensor `{name}` has an impossible shape")
    return FileTensor(name, dims, element, bool(item["outside"] or item.get("location", 0)), item)


def _value(item: Mapping[str, Any]) -> WirePort:
    name, type_ = item.get("name", ""), item.get("type", {})
    tensor = type_.get("tensor")
    if tensor is None or any(word in type_ for word in ("sequence", "map", "opaque", "sparse", "optional")):
        raise OnnxFileError(f"`{name}` is no tensor", "shapes")
    element = ELEMENTS.get(tensor.get("element", 0))
    if element is None:
        raise OnnxFileError(f"`{name}` is not of numbers", "shapes")
    if "shape" not in tensor:
        return WirePort(name, element, None)
    dims = []
    for dim in tensor["shape"]["dims"]:
        if "size" in dim and "name" in dim:
            raise OnnxFileError(f"`{name}` has an axis with both a size and a name", "shapes")
        dims.append(dim.get("size", dim.get("name")))
    return WirePort(name, element, tuple(dims))


def _node(item: Mapping[str, Any]) -> WireNode:
    attributes: dict[str, Any] = {}
    odd: list[str] = []
    for each in item["attributes"]:
        name = each.get("name", "")
        if name in attributes:
            raise OnnxFileError(f"an operator `{item.get('op', '')}` has two attributes `{name}`")
        attributes[name] = value = _attribute(each)
        if value is None:
            odd.append(name)
    domain = item.get("domain", "") + item.get("overload", "")
    return WireNode(
        item.get("op", ""),
        "" if domain == "ai.onnx" else domain,
        tuple(item["inputs"]),
        tuple(item["outputs"]),
        attributes,
        tuple(odd),
    )


_KINDS = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}
"""The fields of an attribute by its kind, as `onnx.AttributeProto` numbers them."""
_EMPTY = {"f": 0.0, "i": 0, "s": b""}


def _attribute(item: Mapping[str, Any]) -> Any:
    """An attribute's value; None for one of another kind, or whose kind and value disagree."""
    field = _KINDS.get(item.get("kind", 0))
    given = {
        name for name, value in item.items() if name not in ("name", "kind") and (name in _EMPTY or value)
    }
    if field is None or not given <= {field}:
        return None
    value = item.get(field, _EMPTY.get(field))
    if field == "t":
        return None if value is None else _tensor(value)
    if field == "s":
        return _text(value)
    if field == "strings":
        return [_text(each) for each in value]
    if field == "floats":
        content = b"".join(value)
        if len(content) % 4:
            raise OnnxFileError("a list of numbers ends in the middle of one")
        return [number for (number,) in iter_unpack("<f", content)]
    return value


def _text(content: memoryview | bytes) -> str:
    return bytes(content).decode("utf-8", "replace")
