"""Kernels of a GPU: their source, compiled for the processor, against NumPy; and what is put into graphs."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vflc_kernels
from onnx import ModelProto, TensorProto, helper, numpy_helper
from vflc_kernels.cuda import FLOATS, THREADS, blocks, head, read_program, source
from vflc_kernels.programs import MEANINGS, Instruction, Program
from vflc_runtime.engines.cuda_kernels import KernelCompiler

SHIM = """#include <cmath>
using namespace std;
#define __global__
#define __device__
static struct { unsigned x; } blockIdx, threadIdx;
"""
SHAPES = ((3, 700, 4), (700, 4), (3, 1, 4), (1,))


def every() -> Program:
    """A program with every instruction, of four inputs; two of its values are outputs."""
    steps = []
    for index, (name, (operands, _)) in enumerate(MEANINGS.items()):
        given = (4 + index - 1 if index else 0, 1 + index % 2, 3)[:operands]
        steps.append(Instruction(name, given if name not in ("Exp", "Pow", "Log") else (1, 2, 3)[:operands]))
    return Program(4, tuple(steps), (4 + 6, 4 + len(steps) - 1))


def by_processor(text: str, given: list[Any], made: list[Any], count: int, folder: Path) -> None:
    """Runs a kernel `run` thread by thread."""
    kind = "double" if given[0].dtype == np.float64 else "float"
    each = [f"({kind}*)at[{index}]" for index in range(len(given) + len(made))]
    call = f"""extern "C" void all(void** at) {{
      for (blockIdx.x = 0; blockIdx.x < {count}; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < {THREADS}; ++threadIdx.x) run({", ".join(each)});
    }}"""
    (folder / "k.cpp").write_text(SHIM + head(kind == "double") + text + call)
    command = ["g++", "-w", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-o", "k.so", "k.cpp"]
    subprocess.run(command, cwd=folder, check=True)
    places = (ctypes.c_void_p * len(each))(*(array.ctypes.data for array in (*given, *made)))
    ctypes.CDLL(str(folder / "k.so")).all(places)


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_a_kernel_computes_what_its_program_says(tmp_path: Path) -> None:
    """Every instruction, inputs that broadcast in every way, and the last block, which is not full."""
    assert FLOATS.keys() == MEANINGS.keys()
    rng = np.random.default_rng(1)
    given = [rng.uniform(0.5, 2, shape) for shape in SHAPES]
    program = every()
    again = read_program(4, program.attributes()["program"], program.outputs)
    due = [np.broadcast_to(each, SHAPES[0]) for each in again.run(given)]
    text, read = source("run", again, SHAPES, SHAPES[0], program.outputs)
    made = [np.full(SHAPES[0], np.nan) for _ in due]
    by_processor(text, [given[index] for index in read], made, blocks(SHAPES[0]), tmp_path)
    for found, wanted in zip(made, due, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def model() -> ModelProto:
    """A layer with its bias and ReLU, the mask of its gradient, and a sum that stays as it is."""
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "w"], ["g"], transB=1),
        node("Greater", ["r", "zero"], ["above"]),
        node("Where", ["above", "g", "zero"], ["masked"]),
        node("ReduceSum", ["masked"], ["total"], keepdims=0),
    ]
    shapes = {"x": [6, 4], "w": [4, 4], "b": [4]}
    inputs = [info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    outputs = [info("total", TensorProto.FLOAT, []), info("r", TensorProto.FLOAT, [6, 4])]
    zero = numpy_helper.from_array(np.zeros((), np.float32), "zero")
    graph = helper.make_graph(nodes, "g", inputs, outputs, [zero])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> KernelCompiler:
    """One without a GPU, which keeps the sources that it is given."""
    made = KernelCompiler.__new__(KernelCompiler)
    made.usable, made.texts = True, set()  # type: ignore[attr-defined]

    def attributes(name: str, text: str) -> dict[str, Any]:
        made.texts.add(text)  # type: ignore[attr-defined]
        return {"function": 1, "launch": 2, "stream": 0, "threads": THREADS}

    monkeypatch.setattr(made, "attributes", attributes)
    return made


def test_regions_become_launches(compiler: KernelCompiler) -> None:
    """A bias goes with its ReLU; a mask and the choice by it are one; all shapes are stated."""
    found = compiler.replaced(model())
    kinds = [node.op_type for node in found.graph.node]
    assert sorted(kinds) == ["Gemm", "Gemm", "Launch", "Launch", "ReduceSum"]
    launches = [node for node in found.graph.node if node.op_type == "Launch"]
    assert [[*node.output] for node in launches] == [["r"], ["masked"]]
    assert {node.domain for node in launches} == {vflc_kernels.DOMAIN}
    assert [*launches[0].input] == ["h/product", "b"] and "r" in launches[1].input
    stated = {each.name for each in found.graph.value_info}
    assert {"h/product", "g", "masked"} <= stated
    (text,) = compiler.texts  # type: ignore[attr-defined]
    assert text.count("__global__") == 2


def test_graphs_without_regions_stay(compiler: KernelCompiler) -> None:
    """And all of them where CUDA's compiler or our extension is missing."""
    given = model()
    del given.graph.node[:]
    given.graph.node.append(helper.make_node("Gemm", ["x", "w"], ["r"]))
    del given.graph.output[0]
    assert compiler.replaced(given) is given
    compiler.usable = False
    whole = model()
    assert compiler.replaced(whole) is whole


def test_a_graph_stays_where_no_kernel_can_be_made(
    compiler: KernelCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, text: str) -> dict[str, Any]:
        compiler._check(6)
        return {}

    monkeypatch.setattr(compiler, "attributes", refuse)
    whole = model()
    assert compiler.replaced(whole) is whole and whole == model()
