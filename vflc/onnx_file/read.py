"""A checked ONNX file as a graph: for what imports it, and for blocks that are expanded.

Files are read by `vflc_common.onnx_file`; here, their tensors become numbers, those beside the file, too.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vflc_common.onnx_file import MOST_BYTES as MOST_BYTES
from vflc_common.onnx_file import FileModel, WireNode, WirePort, read_onnx
from vflc_common.onnx_tensors import FileTensor
from vflc_common.onnx_wire import OnnxFileError

from vflc.onnx_file.beside import BesideFiles
from vflc.onnx_file.model import OnnxGraph, OnnxNode, OnnxPort, refuse
from vflc.onnx_file.numbers import Numbers

OLDEST, NEWEST = 13, 26
"""Versions of ONNX's operators: older ones take as settings what they now read as inputs; what newer ones
mean is not known."""
CODES = {"file": "VFL0707", "shapes": "VFL0709", "parts": "VFL0709"}
"""The code of what is wrong with a file."""
WHOLE = "export the model again, and copy the file whole"
PLAIN = "export it as a plain graph: onnx.inliner.inline_local_functions inlines its functions"


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
            help = "keep its tensors in a file beside it"
            refuse("VFL0707", f"{path} has more than {MOST_BYTES:,} bytes", help)
        content = path.read_bytes()
    except OSError as error:
        refuse("VFL0707", f"{path} cannot be read: {error.strerror}", whole)
    try:
        model = read_onnx(content)
        _check_parts(model)
        return graph_of(model, BesideFiles(path.parent))
    except OnnxFileError as wrong:
        help = wrong.help or (WHOLE if wrong.kind == "file" else "export it without")
        refuse(CODES[wrong.kind], f"{path} cannot be read: {wrong.message}", help)


def _check_parts(model: FileModel) -> None:
    """Refuses what a graph of operators does not have, and versions that are not known."""
    if not OLDEST <= model.opset <= NEWEST:
        help = f"export it with opset_version={NEWEST if model.opset > NEWEST else 18}"
        text = f"it uses version {model.opset} of ONNX's operators, not {OLDEST} to {NEWEST}"
        raise OnnxFileError(text, "parts", help)
    if model.more:
        raise OnnxFileError(f"it has {model.more[0]}", "parts", PLAIN)
    for node in model.nodes:
        for name, what in node.odd.items():
            text = f"the attribute `{name}` of `{node.name[:80]}` ({node.op[:40]}) is {what}"
            raise OnnxFileError(text, "parts", "write it without; torch.nn.EmbeddingBag is a loop in ONNX")
        if node.domain not in model.opsets:
            text = f"`{node.name[:80]}` ({node.op[:40]}) is an operator of `{node.domain[:40]}`, of which"
            raise OnnxFileError(f"{text} the model names no version")


def graph_of(model: FileModel, beside: BesideFiles | None = None) -> OnnxGraph:
    """The graph of a file that was read.

    Args:
        model: the file.
        beside: what reads tensors that it keeps in other files; None where none are read.

    Raises:
        OnnxFileError: a tensor has not the numbers that it says.
        Refused: VFL0707 or VFL0708, as `read`, of those in other files.
    """

    def numbers(tensor: FileTensor) -> Numbers:
        if tensor.element == "string":
            return Numbers.listed("string", tensor.dims, tensor.texts())
        content = tensor.content() if tensor.outside is None or beside is None else beside.content(tensor)
        return Numbers.of_bytes(tensor.element, tensor.dims, content)

    def plain(value: Any) -> Any:
        return numbers(value) if isinstance(value, FileTensor) else value

    return OnnxGraph(
        model.name,
        [_port(each) for each in model.inputs],
        [_port(each) for each in model.outputs],
        [_node(each, {key: plain(value) for key, value in each.attributes.items()}) for each in model.nodes],
        {name: numbers(tensor) for name, tensor in model.tensors.items()},
        model.opsets,
        model.kinds,
        model.producer,
        model.metadata,
    )


def _port(value: WirePort) -> OnnxPort:
    if value.dims is None:
        return OnnxPort(value.name, value.element, None)
    return OnnxPort(value.name, value.element, tuple(s if isinstance(s, int) else None for s in value.dims))


def _node(node: WireNode, attrs: Mapping[str, Any]) -> OnnxNode:
    return OnnxNode(node.op, node.domain, node.name, node.inputs, node.outputs, attrs, _scope(node))


def _scope(node: WireNode) -> tuple[str, ...]:
    """The modules that torch says a node came from: as data beside it, or as in `/deep/deep.0/Gemm`."""
    written = node.scopes
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
