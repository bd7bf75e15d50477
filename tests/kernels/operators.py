"""One node of an operator of ours, run by onnxruntime."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import vflc_kernels
from onnx import helper

Array = np.ndarray[Any, Any]


def run_operator(
    name: str, given: Sequence[Array], outputs: int, attributes: dict[str, Any], threads: int = 1
) -> list[Array]:
    """What a node gives, whose outputs have the type of its last input."""
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
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    made: list[Array] = session.run(None, dict(zip(names[0], given, strict=True)))
    return made
