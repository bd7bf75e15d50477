"""How many operations a second the products of dense layers reach, beside numpy's BLAS.

    python benchmarks/kernel_rates.py [--shape ROWS INNER COLUMNS …] [--threads N] [--bfloat16] [--seconds N]

For each layer the best and the median rate of its forward pass (product, bias and ReLU) and of its backward
pass (mask, both products, and the bias's gradient), each alone in a session: the best is what this processor
has, and no step can be faster than all of its products at that rate. numpy multiplies the same matrices.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import vflc_kernels
from onnx import TensorProto, helper
from vflc_runtime.blas import one_thread
from vflc_runtime.engines.onnx_session import ort_value, session

SHAPES = ((512, 1600, 1024), (512, 1024, 512), (512, 512, 256), (1024, 256, 256), (128, 256, 256))
"""Of the layers of specs/wide_deep and specs/deepfm: rows, inner size, columns."""
Array = np.ndarray[Any, Any]


def runner(operator: str, given: dict[str, Array], made: list[str], threads: int, **kept: Any) -> Any:
    """A call of one operator of ours on the same arrays."""
    node = helper.make_node(operator, [*given], made, domain=vflc_kernels.DOMAIN, **kept)
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape) for name, a in given.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(vflc_kernels.DOMAIN, 1)]
    model = helper.make_model(helper.make_graph([node], "g", inputs, outputs), opset_imports=opsets)
    model.ir_version = onnx.IR_VERSION_2024_3_25
    loaded = session(model.SerializeToString(), threads, library=vflc_kernels.library())
    feeds = {name: ort_value(array) for name, array in given.items()}
    return lambda: loaded.run_with_ort_values(feeds, made, None)


def rates(run: Callable[[], object], operations: int, seconds: float) -> tuple[float, float]:
    """The best and the median, in 10⁹ operations a second, of so many seconds of runs."""
    taken, end = list[float](), time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return operations / min(taken) / 1e9, operations / statistics.median(taken) / 1e9


def layer(shape: tuple[int, int, int], options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Rates of both passes of a layer, and of numpy, whose BLAS has one thread."""
    rows, inner, columns = shape
    draw, work = np.random.default_rng(1), 2 * rows * inner * columns
    x, w, dy = (draw.random(size, np.float32) for size in ((rows, inner), (inner, columns), (rows, columns)))
    narrow = {"bfloat16": int(options.bfloat16)}
    forward = runner("Dense", {"X": x, "W": w, "B": w[0].copy()}, ["Y"], options.threads, relu=1, **narrow)
    given = {"X": x, "dY": dy, "Y": dy - np.float32(0.5), "W": w}
    made = ["dW", "dX", "dB"]
    back = runner("DenseBackward", given, made, options.threads, masked=1, to_x=1, to_b=1, **narrow)
    with one_thread():
        numpy = rates(lambda: x @ w, work, options.seconds)
    return {
        "forward": rates(forward, work, options.seconds),
        "backward": rates(back, 2 * work, options.seconds),
        "numpy": numpy,
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, action="append", metavar=("ROWS", "INNER", "COLUMNS"))
    parser.add_argument("--threads", type=int, default=1, help="of ours (default 1; numpy has one)")
    parser.add_argument("--bfloat16", action="store_true", help="round factors to bfloat16")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each (default .5)")
    options = parser.parse_args()
    if vflc_kernels.products(options.bfloat16) is None:
        sys.exit("vflc's kernels have no such products here")
    for shape in options.shape or SHAPES:
        found = layer(tuple(shape), options)
        said = ", ".join(f"{name} {best:.0f} (median {middle:.0f})" for name, (best, middle) in found.items())
        print("{} × {} × {}: ".format(*shape) + said + " GFLOP/s", flush=True)


if __name__ == "__main__":
    main()
