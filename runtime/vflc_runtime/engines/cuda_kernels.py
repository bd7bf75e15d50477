"""Regions of elementwise operators as one kernel of the GPU each, compiled for the shapes at hand.

A GPU waits for memory: what several operators do one after another, a kernel does while it passes once.
Where a library that is needed is missing, or makes no kernel of a region, graphs run as they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import vflc_kernels
from vflc_kernels.cuda import THREADS, blocks, head, read_program, source
from vflc_kernels.graphs import copied

from vflc_runtime.engines.kernels import LOG

if TYPE_CHECKING:
    import onnx

_COMPILERS = ("libnvrtc.so.13", "libnvrtc.so.12")
_MAJOR, _MINOR = 75, 76
"""CUDA's numbers of the attributes that say which processor a GPU is."""


class KernelCompiler:
    """CUDA's compiler at run time, and its driver, which loads what was compiled.

    Args:
        runtime: calls a function of CUDA's runtime; one has been called before.
        stream: where kernels run.
    """

    def __init__(self, runtime: Callable[..., None], stream: int) -> None:
        self._stream, self._known = stream, dict[str, Any]()
        version = []
        for attribute in (_MAJOR, _MINOR):
            found = ctypes.c_int()
            runtime("cudaDeviceGetAttribute", ctypes.byref(found), ctypes.c_int(attribute), ctypes.c_int(0))
            version.append(found.value)
        self._options = [f"--gpu-architecture=sm_{version[0]}{version[1]}", "--fmad=false"]
        self._compiler: Any = None
        self._driver: Any = None
        for name in _COMPILERS:
            with suppress(OSError):
                self._compiler = ctypes.CDLL(name)
                break
        with suppress(OSError):
            self._driver = ctypes.CDLL("libcuda.so.1")
        self.usable = None not in (self._compiler, self._driver, vflc_kernels.library())

    def attributes(self, name: str, text: str) -> Mapping[str, Any]:
        """Of a node that launches the kernel of that name in a source."""
        function = ctypes.c_void_p()
        self._check(
            self._driver.cuModuleGetFunction(ctypes.byref(function), self._module(text), name.encode())
        )
        return {
            "function": function.value,
            "launch": ctypes.cast(self._driver.cuLaunchKernel, ctypes.c_void_p).value,
            "stream": self._stream,
            "threads": THREADS,
        }

    def _module(self, text: str) -> Any:
        """What a source was compiled to; it stays loaded."""
        if text not in self._known:
            image, module = self._compiled(text), ctypes.c_void_p()
            self._check(self._driver.cuModuleLoadData(ctypes.byref(module), image))
            self._known[text] = module
        return self._known[text]

    def _compiled(self, text: str) -> Any:
        compiler, program, size = self._compiler, ctypes.c_void_p(), ctypes.c_size_t()
        made = compiler.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"fused.cu", 0, None, None)
        self._check(made)
        options = (ctypes.c_char_p * len(self._options))(*(each.encode() for each in self._options))
        self._check(compiler.nvrtcCompileProgram(program, len(options), options))
        self._check(compiler.nvrtcGetCUBINSize(program, ctypes.byref(size)))
        image = ctypes.create_string_buffer(size.value)
        self._check(compiler.nvrtcGetCUBIN(program, image))
        compiler.nvrtcDestroyProgram(ctypes.byref(program))
        return image

    @staticmethod
    def _check(status: int) -> None:
        if status:
            raise RuntimeError(f"a kernel cannot be made: {status}")

    def replaced(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """A model, whose inputs have known shapes, with kernels in place of regions."""
        from vflc_kernels.fuse import fuse
        from vflc_kernels.graphs import drop_identities, drop_unread, kinds

        if not self.usable or any(_inner(node) for node in model.graph.node):
            return model
        changed = type(model)()
        changed.CopyFrom(model)
        graph = changed.graph
        drop_identities(graph)
        drop_unread(graph)
        _part_biases(graph)
        found = kinds(changed)
        texts = fuse(graph, found, frozenset()) + _choices(graph, found)
        if not texts:
            return model
        shapes = {name: kind.shape for name, kind in found.items()}
        shapes |= {each.name: tuple(each.dims) for each in graph.initializer}
        regions = [node for node in graph.node if node.domain == vflc_kernels.DOMAIN]
        if any(shapes.get(name) is None for node in regions for name in (*node.input, *node.output)):
            return model
        try:
            self._launch(graph, shapes)
        except RuntimeError as error:
            LOG.debug("%s: operators run one by one", error)
            return model
        _tell(graph, found)
        changed.opset_import.append(_domain())
        for text in texts:
            LOG.debug("%s on the GPU", text)
        return changed

    def _launch(self, graph: onnx.GraphProto, shapes: Mapping[str, Any]) -> None:
        """Puts launches of kernels in place of nodes with programs, one for each shape of outputs."""
        from onnx import helper

        texts, made = {True: head(True), False: head(False)}, []
        for node in graph.node:
            if node.domain != vflc_kernels.DOMAIN:
                made.append(node)
                continue
            given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            program = read_program(given["given"], given["program"], given["results"])
            double = node.op_type == "FusedDouble"
            for shape in dict.fromkeys(shapes[name] for name in node.output):
                pairs = zip(node.output, program.outputs, strict=True)
                outputs = {name: value for name, value in pairs if shapes[name] == shape}
                name = f"run_{len(made)}"
                inputs = [shapes[each] for each in node.input]
                text, read = source(name, program, inputs, shape, [*outputs.values()])
                texts[double] += text
                op = "LaunchDouble" if double else "Launch"
                launch = helper.make_node(op, [node.input[each] for each in read], [*outputs], name)
                launch.domain = vflc_kernels.DOMAIN
                launch.attribute.append(helper.make_attribute("blocks", blocks(shape)))
                sizes = helper.make_attribute("shape", [*shape], attr_type=_integers())
                launch.attribute.append(sizes)
                made.append(launch)
        for node in made:
            if node.domain == vflc_kernels.DOMAIN:
                text = texts[node.op_type == "LaunchDouble"]
                for key, value in self.attributes(node.name, text).items():
                    node.attribute.append(helper.make_attribute(key, value))
        del graph.node[:]
        graph.node.extend(made)


def _integers() -> int:
    from onnx import AttributeProto

    return int(AttributeProto.INTS)


def _domain() -> Any:
    from onnx import helper

    return helper.make_opsetid(vflc_kernels.DOMAIN, 1)


def _inner(node: onnx.NodeProto) -> bool:
    """Whether a node has branches or loops, whose values kernels know nothing of."""
    return any(each.HasField("g") or each.graphs for each in node.attribute)


def _part_biases(graph: onnx.GraphProto) -> None:
    """A bias is added by a node of its own, which becomes part of a kernel: a product would copy it first."""
    from onnx import helper

    made = []
    for node in graph.node:
        named = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        if (
            node.op_type != "Gemm"
            or len(node.input) < 3
            or not node.input[2]
            or named.get("beta", 1.0) != 1.0
        ):
            made.append(node)
            continue
        product, (x, y, bias), out = f"{node.output[0]}/product", node.input, node.output[0]
        named.pop("beta", None)
        made += [
            helper.make_node("Gemm", [x, y], [product], node.name, **named),
            helper.make_node("Add", [product, bias], [out]),
        ]
    del graph.node[:]
    graph.node.extend(made)


def _choices(graph: onnx.GraphProto, found: Mapping[str, Any]) -> list[str]:
    """A comparison and the choice that alone reads it as one program; says what was replaced."""
    from onnx import helper
    from vflc_kernels.fuse import OPERATORS
    from vflc_kernels.programs import Instruction, Program

    read = [name for node in graph.node for name in node.input] + [each.name for each in graph.output]
    compared = {n.output[0]: n for n in graph.node if n.op_type == "Greater" and read.count(n.output[0]) == 1}
    program = Program(4, (Instruction("Greater", (0, 1)), Instruction("Where", (4, 2, 3))), (5,))
    made, gone = [], set[str]()
    for node in graph.node:
        kind = found.get(node.output[0])
        if node.op_type == "Where" and node.input[0] in compared and kind and kind.element in OPERATORS:
            inputs, op = [*compared[node.input[0]].input, *node.input[1:]], OPERATORS[kind.element]
            gone.add(node.input[0])
            attributes = program.attributes()
            node = helper.make_node(op, inputs, [*node.output], domain=vflc_kernels.DOMAIN, **attributes)
        made.append(node)
    kept = [copied(node) for node in made if not gone.intersection(node.output)]
    del graph.node[:]
    graph.node.extend(kept)
    return ["Fused: 1 Greater, 1 Where"] * len(gone)


def _tell(graph: onnx.GraphProto, found: Mapping[str, Any]) -> None:
    """States the shapes of all values, which onnxruntime cannot infer past a kernel."""
    from onnx import helper

    stated = {each.name for each in (*graph.input, *graph.output, *graph.initializer)}
    info = helper.make_tensor_value_info
    for name in dict.fromkeys(name for node in graph.node for name in node.output if name not in stated):
        kind = found.get(name)
        if kind is not None and kind.shape is not None and kind.element:
            graph.value_info.append(info(name, kind.element, kind.shape))
