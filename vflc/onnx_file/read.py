"""Reads an ONNX file: what is damaged, lies elsewhere or leads nowhere is refused with a code."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vflc.onnx_file.model import OnnxGraph, OnnxNode, OnnxPort, refuse
from vflc.onnx_file.numbers import Numbers
from vflc.onnx_file.tensors import AGAIN, MOST_AXES, TYPES, numbers

MOST_BYTES = 2 << 30
"""What a protobuf can hold."""
MOST_NODES = 100_000
OLDEST = 13
"""Before this version of ONNX's operators, some of them take as settings what they now read as inputs."""
INLINE = "inline its functions (onnx.inliner.inline_local_functions) and save the model again"


def read(path: Path) -> OnnxGraph:
    """The graph in a file.

    Args:
        path: of an ONNX model; tensors that it keeps in other files are read beside it or below.

    Raises:
        Refused: VFL0707, it is no whole ONNX model; VFL0708, it keeps tensors where they are not read;
            VFL0709, it uses a part of ONNX that is not read, such as functions and subgraphs.
    """
    whole = "name the file that `torch.onnx.export` or `onnx.save` wrote"
    try:
        if not path.exists():
            refuse("VFL0707", f"there is no file {path}", whole)
        if not path.is_file():
            refuse("VFL0707", f"{path} is no file", whole)
        if path.stat().st_size > MOST_BYTES:
            refuse(
                "VFL0707",
                f"{path} has more than {MOST_BYTES:,} bytes",
                "keep its tensors in a file beside it",
            )
        content = path.read_bytes()
    except OSError as error:
        refuse("VFL0707", f"{path} cannot be read: {error.strerror}", whole)
    return parse(content, path.parent, str(path))


def parse(content: bytes, folder: Path, shown: str) -> OnnxGraph:
    """The graph in the bytes of a file; see `read`.

    Args:
        content: of the file.
        folder: that tensors in other files lie in.
        shown: the file in messages.
    """
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, ValueError, RuntimeError):
        _broken(shown, "is not an ONNX model, or only a part of one")
    if not _is_text(model):
        _broken(shown, "has names that are not UTF-8")
    if not model.HasField("graph") or not model.graph.output:
        _broken(shown, "holds no ONNX graph")
    if model.functions:
        refuse("VFL0709", f"{shown} defines operators of its own, `{model.functions[0].name[:40]}`", INLINE)
    return _Reader(model, folder, shown).graph()


def _broken(shown: str, what: str) -> Any:
    refuse("VFL0707", f"{shown} {what}", "export the model again, and copy the file whole")


def _is_text(message: Any) -> bool:
    """Whether what should be text is: protobuf gives bytes for what is not UTF-8."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            if not all(
                isinstance(each, str) for each in ([value] if isinstance(value, (str, bytes)) else value)
            ):
                return False
        elif field.type == field.TYPE_MESSAGE:
            many = value if hasattr(value, "__len__") else [value]
            if not all(_is_text(each) for each in many):
                return False
    return True


class _Reader:
    """Reads one model; every name of a value is given once, before it is read."""

    def __init__(self, model: Any, folder: Path, shown: str) -> None:
        self._model, self._graph, self._folder, self._shown = model, model.graph, folder, shown
        self._known: set[str] = set()

    def graph(self) -> OnnxGraph:
        graph = self._graph
        if len(graph.node) > MOST_NODES:
            _broken(self._shown, f"has more than {MOST_NODES:,} nodes")
        if graph.sparse_initializer or graph.quantization_annotation:
            refuse("VFL0709", f"{self._shown} has sparse or quantized weights", "export it with plain ones")
        opsets = self._opsets()
        constants: dict[str, Numbers] = {}
        for tensor in graph.initializer:
            self._gives(tensor.name, "a weight")
            constants[tensor.name] = numbers(tensor, self._folder, f"the weight `{tensor.name[:80]}`")
        inputs = [self._port(each) for each in graph.input if each.name not in constants]
        for port in inputs:
            self._gives(port.name, "an input")
        nodes = [self._node(node, opsets) for node in graph.node]
        outputs = [self._port(each) for each in graph.output]
        absent = next((port.name for port in outputs if port.name not in self._known), None)
        if absent is not None:
            _broken(self._shown, f"does not make its output `{absent[:80]}`")
        metadata = {entry.key: entry.value for entry in self._model.metadata_props}
        kinds = {
            value.name: entry.value
            for value in graph.value_info
            for entry in value.metadata_props
            if entry.key == "pkg.torch.export.graph_signature.InputSpec.kind"
        }
        producer = str(self._model.producer_name)
        return OnnxGraph(graph.name, inputs, outputs, nodes, constants, opsets, kinds, producer, metadata)

    def _opsets(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for entry in self._model.opset_import:
            domain = "" if entry.domain == "ai.onnx" else entry.domain
            if found.setdefault(domain, entry.version) != entry.version:
                _broken(self._shown, f"names two versions of the operators of `{domain[:40]}`")
        if "" not in found:
            _broken(self._shown, "does not say which version of ONNX's operators it uses")
        if not OLDEST <= found[""] <= _newest():
            help = f"export it with opset_version={_newest() if found[''] > OLDEST else 18}"
            message = (
                f"{self._shown} uses version {found['']} of ONNX's operators, not {OLDEST} to {_newest()}"
            )
            refuse("VFL0709", message, help)
        return found

    def _gives(self, name: str, what: str) -> None:
        if not name or name in self._known:
            _broken(self._shown, f"has {what} without a name" if not name else f"makes `{name[:80]}` twice")
        self._known.add(name)

    def _port(self, value: Any) -> OnnxPort:
        if not value.type.HasField("tensor_type"):
            refuse("VFL0709", f"`{value.name[:80]}` is no tensor", "give the model tensors alone")
        tensor = value.type.tensor_type
        kind = TYPES.get(tensor.elem_type)
        if kind is None:
            message = f"`{value.name[:80]}` has elements of ONNX's type {tensor.elem_type}"
            refuse("VFL0709", message, "use float32, float64, int32, int64, bool or string")
        if not tensor.HasField("shape"):
            return OnnxPort(value.name, kind, None)
        sizes = [each.dim_value if each.HasField("dim_value") else None for each in tensor.shape.dim]
        if len(sizes) > MOST_AXES or any(size is not None and not 0 <= size < 1 << 31 for size in sizes):
            _broken(self._shown, f"gives `{value.name[:80]}` the sizes {str(sizes)[:80]}")
        return OnnxPort(value.name, kind, tuple(sizes))

    def _node(self, node: Any, opsets: Mapping[str, int]) -> OnnxNode:
        domain = "" if node.domain == "ai.onnx" else node.domain
        name = node.name or next((each for each in node.output if each), "")
        shown = f"`{name[:80]}` ({node.op_type[:40]})"
        if domain not in opsets:
            message = f"{shown} is an operator of `{domain[:40]}`, of which the model names no version"
            refuse("VFL0707", message, AGAIN)
        for each in node.input:
            if each and each not in self._known:
                _broken(
                    self._shown, f"reads `{each[:80]}` in {shown}, which no input, weight or earlier node is"
                )
        attrs = {}
        for given in node.attribute:
            if given.name in attrs or given.ref_attr_name:
                _broken(self._shown, f"gives `{given.name[:40]}` of {shown} twice, or not at all")
            attrs[given.name] = self._attribute(given, shown)
        for each in node.output:
            if each:
                self._gives(each, "an output")
        scope = _scope(node)
        return OnnxNode(node.op_type, domain, name, tuple(node.input), tuple(node.output), attrs, scope)

    def _attribute(self, given: Any, shown: str) -> Any:
        match given.type:
            case 1:
                return given.f
            case 2:
                return given.i
            case 3:
                return self._text(given.s, shown)
            case 4:
                return numbers(given.t, self._folder, f"`{given.name[:40]}` of {shown}")
            case 6:
                return list(given.floats)
            case 7:
                return list(given.ints)
            case 8:
                return [self._text(each, shown) for each in given.strings]
            case 5 | 10:
                message = f"{shown} runs a graph of its own, as loops and branches do"
                refuse("VFL0709", message, "write it without; torch.nn.EmbeddingBag is a loop in ONNX")
        refuse("VFL0709", f"{shown} has `{given.name[:40]}` of a kind that is not read", "export it without")

    def _text(self, content: bytes, shown: str) -> str:
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            refuse("VFL0707", f"{shown} has a setting that is not text", AGAIN)


def _newest() -> int:
    import onnx

    return int(onnx.defs.onnx_opset_version())


def _scope(node: Any) -> tuple[str, ...]:
    """The modules that torch says a node came from: as data beside it, or as in `/deep/deep.0/Gemm`."""
    written = next((e.value for e in node.metadata_props if e.key == "pkg.torch.onnx.name_scopes"), None)
    if written is not None and len(written) < 10_000:
        try:
            names = ast.literal_eval(written)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            names = []
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(name for name in names[:-1] if name)
    if node.name.startswith("/"):
        return tuple(node.name.split("/")[1:-1])
    return ()
