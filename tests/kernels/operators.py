"""One node of an operator of ours, run by onnxruntime."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import vflc_kernels
from onnx import helper
from vflc_kernels.programs import Program

Array = np.ndarray[Any, Any]


def run_operator(
    name: str, given: Sequence[Array], outputs: int, attributes: dict[str, Any], threads: int = 1
) -> list[Array]:
    """What a node gives, whose outputs have the type of its last input."""
    session = operator_session(name, given, outputs, attributes, threads)
    names = [each.name for each in session.get_inputs()]
    made: list[Array] = session.run(None, dict(zip(names, given, strict=True)))
    return made


def run_in_place(program: Program, given: Sequence[Array], into: Sequence[Array], threads: int) -> None:
    """Runs a program of float64 with each output written to an array [*] of these, which may be an input."""
    session = operator_session("FusedDouble", given, len(into), program.attributes(), threads)
    binding = session.io_binding()
    for each, array in zip(session.get_inputs(), given, strict=True):
        binding.bind_input(each.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
    for each, array in zip(session.get_outputs(), into, strict=True):
        binding.bind_output(each.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
    session.run_with_iobinding(binding)


def operator_session(
    name: str,
    given: Sequence[Array],
    outputs: int,
    attributes: dict[str, Any],
    threads: int = 1,
    pooled: int = 0,
) -> Any:
    """The session of one node, whose outputs have the type of its last input."""
    names = [f"x{index}" for index in range(len(given))], [f"y{index}" for index in range(outputs)]
    kinds = [[array.dtype for array in given], [given[-1].dtype] * outputs]
    node = helper.make_node(name, *names, domain=vflc_kernels.DOMAIN, **attributes)
    info, number = helper.make_tensor_value_info, helper.np_dtype_to_tensor_dtype
    infos = [
        [info(name, number(kind), None) for name, kind in zip(*side, strict=True)]
        for side in zip(names, kinds, strict=True)
    ]
    model = helper.make_model(
        helper.make_graph([node], "one", *infos),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(vflc_kernels.DOMAIN, 1)],
        ir_version=8,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    library = vflc_kernels.library()
    assert library is not None
    options.register_custom_ops_library(library)
    with vflc_kernels.pooled(pooled):
        return onnxruntime.InferenceSession(model.SerializeToString(), options)
