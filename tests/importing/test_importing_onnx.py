"""ONNX's operators: what onnxruntime computes of them is what the spec computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx_testing import both, model, node, write

FORMULAS: dict[str, str] = {
    "exp": "Exp x", "log": "Log p", "sqrt": "Sqrt p", "abs": "Abs x", "sign": "Sign x", "floor": "Floor x",
    "ceil": "Ceil x", "cos": "Cos x", "neg": "Neg x", "erf": "Erf x", "relu": "Relu x",
    "sigmoid": "Sigmoid x", "tanh": "Tanh x", "softplus": "Softplus x", "reciprocal": "Reciprocal p",
    "softsign": "Softsign x", "mish": "Mish x", "hard_swish": "HardSwish x", "elu": "Elu x",
    "selu": "Selu x", "leaky": "LeakyRelu x alpha=0.3", "hard_sigmoid": "HardSigmoid x alpha=0.3 beta=0.4",
    "gelu": "Gelu x", "gelu_tanh": "Gelu x approximate=tanh", "softmax": "Softmax x axis=1",
    "log_softmax": "LogSoftmax x axis=-1", "prelu": "PRelu x slope", "add": "Add x w", "sub": "Sub w x",
    "mul": "Mul x y", "div": "Div x p", "pow2": "Pow x const_2", "pow3": "Pow p const_3",
    "root": "Pow p const_5", "max": "Max x y w", "min": "Min x y", "sum": "Sum x y w", "mean": "Mean x y w",
    "clip": "Clip x clip_min clip_max", "floor_at": "Clip x clip_min", "ceiling": "Clip x - clip_max",
    "square": "Mul x x", "same": "Identity x", "positions": "Slice x one three one",
    "last": "Slice x minus big one", "some": "Gather x at axis=1", "rows": "Dropout x",
    "sum_of": "ReduceSum x one keepdims=1", "mean_of": "ReduceMean x one keepdims=1",
    "max_of": "ReduceMax x one keepdims=1", "min_of": "ReduceMin x one keepdims=1",
    "length": "ReduceL2 x one keepdims=1", "l1": "ReduceL1 x one keepdims=1",
    "squares": "ReduceSumSquare x one keepdims=1", "norm": "LayerNormalization x ln_g ln_b epsilon=0.001",
    "batch": "BatchNormalization x bn_g bn_b bn_m bn_v epsilon=0.001",
    "layer": "Gemm x kernel bias transB=1", "product": "MatMul x square_kernel",
    "einsum": "Einsum x other_kernel equation=bi,io->bo",
}  # fmt: skip
"""An operator each: what it reads, and its settings."""
RNG = np.random.default_rng(3)
VECTORS = ("w", "ln_g", "ln_b", "bn_g", "bn_b", "bn_m")
WEIGHTS: dict[str, Any] = {
    **{name: RNG.normal(size=4) for name in VECTORS},
    "slope": RNG.uniform(0.1, 0.4, 4),
    "bn_v": RNG.uniform(0.5, 1.5, 4),
    "kernel": RNG.normal(size=(3, 4)),
    "bias": RNG.normal(size=3),
    "square_kernel": RNG.normal(size=(4, 4)),
    "other_kernel": RNG.normal(size=(4, 4)),
    "end": [1.5],
    "const_2": 2.0,
    "const_3": 3.0,
    "const_5": 0.5,
    "clip_min": -0.4,
    "clip_max": 0.7,
}
WHOLE = {"one": [1], "three": [3], "minus": [-2], "big": [2**31], "at": [2, 0, 1]}


def of_formula(name: str, formula: str) -> list[Any]:
    """Nodes that end in one number a row, `y_NAME`."""
    op, *words = formula.split()
    settings = dict(word.split("=") for word in words if "=" in word)
    reads = [word for word in words if "=" not in word]
    attrs = {key: _setting(value) for key, value in settings.items()}
    made = node(op, " ".join(reads), f"h_{name}", **attrs)
    total = node("ReduceSum", f"h_{name} one", f"s_{name}", keepdims=1)
    return [made, total, node("Mul", f"s_{name} end", f"y_{name}")]


def _setting(text: str) -> Any:
    return float(text) if "." in text else int(text) if text.removeprefix("-").isdecimal() else text


def held() -> dict[str, Any]:
    arrays = {name: np.asarray(value, "float32") for name, value in WEIGHTS.items()}
    return arrays | {name: np.asarray(value, "int64") for name, value in WHOLE.items()}


def test_operators_one_by_one(tmp_path: Path) -> None:
    """All in one model: each ends in a prediction of its own."""
    nodes = [node("Exp", "y", "p")]
    for name, formula in FORMULAS.items():
        nodes += of_formula(name, formula)
    outputs = [f"y_{name}" for name in FORMULAS]
    path = write(tmp_path, model({"x": ("float", 4), "y": ("float", 4)}, outputs, nodes, held()))
    table = {f"{v}{i + 1}": RNG.normal(size=9).round(3) for v in "xy" for i in range(4)}
    owners = {"bob": [f"{v}{i + 1}" for v in "xy" for i in range(4)]}
    _, found, wanted = both(path, owners, {"bob": [f"t_{name}" for name in FORMULAS]}, table, tmp_path)
    for (name, formula), mine, value in zip(FORMULAS.items(), found, wanted, strict=True):
        np.testing.assert_allclose(mine, value, rtol=2e-5, atol=2e-5, err_msg=f"{name}: {formula}")
