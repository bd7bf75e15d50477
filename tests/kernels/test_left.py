"""Which products of onnxruntime its threads share out: those that take long, and keep their bits."""

from typing import Any

import numpy as np
import pytest
import vflc_kernels
from built import Built, replaced
from operators import Array
from vflc_kernels.replace import replace
from vflc_runtime.engines.onnx_session import own_session


@pytest.mark.parametrize(
    ("precision", "inputs", "outputs", "shared"),
    [
        ("float32", 128, 64, False),  # ours
        ("float64", 128, 64, True),
        ("float64", 129, 64, False),  # sums that are cut
        ("float64", 32, 16, False),
        ("float32", 128, 1, False),
        ("float32", 1500, 1, False),  # a column
    ],
)
def test_layers(precision: str, inputs: int, outputs: int, shared: bool) -> None:
    built = Built(precision)
    built.inputs = {"x": ("rows", inputs), "k": (inputs, outputs), "b": (outputs,)}
    model = built.model([built.add("Gemm", "x", "k", "b")])
    texts, found = replace(model)
    assert found == shared
    assert bool(texts) == (precision == "float32" and outputs > 1)


def test_what_products_of_unknown_size_give_is_not_known_to_be_the_same() -> None:
    built = Built("float64")
    built.inputs = {"x": ("rows", 128), "y": (128, 64), "s": (2,)}
    product = built.add("MatMul", "x", "y")
    assert replace(built.model([product]))[1] is True
    unknown = built.add("Reshape", "x", built.add("NonZero", built.constant([0], "int64")))
    assert replace(built.model([product, built.add("MatMul", unknown, "y")]))[1] is False


SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, int]]] = {
    "layer": ((64, 200), (200, 256), {}),
    "layer, turned": ((64, 256), (128, 256), {"transB": 1}),
    "small layer": ((512, 128), (128, 512), {}),
    "gradient": ((1000, 40), (1000, 256), {"transA": 1}),
    "bias": ((1, 5000), (5000, 64), {}),
    "column": ((150, 1200), (1200, 1), {}),
    "sequence": ((64, 8, 200), (200, 600), {}),
    "several": ((64, 8, 200), (64, 200, 64), {}),
}


def product(x: Array, y: Array, turned: dict[str, int], threads: int) -> Any:
    built = Built(str(x.dtype))
    built.inputs = {"x": ("rows", *x.shape[1:]), "y": y.shape}
    made = built.add("Gemm" if turned else "MatMul", "x", "y", **turned)
    session = own_session(built.model([made]), threads, str(x.dtype))
    return session.run([made], {"x": x, "y": y}, None)[0]


@pytest.mark.parametrize("kernels", ["on", "off"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_bit_depends_on_threads(
    shape: str, precision: str, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which onnxruntime alone does not promise: it shares out a product's columns, or its rows."""
    monkeypatch.setenv(vflc_kernels.SWITCH, kernels)
    left, right, turned = SHAPES[shape]
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=sizes).astype(precision) for sizes in (left, right))
    one = product(x, y, turned, 1)
    for threads in (2, 3, 7, 16):
        np.testing.assert_array_equal(product(x, y, turned, threads), one)


def test_no_products() -> None:
    built = Built("float32")
    built.inputs = {"x": ("rows", 8)}
    model = built.model([built.add("Concat", "x", "x", axis=1)])
    assert replace(model) == ([], False)
    assert replaced(model)[1] == []
