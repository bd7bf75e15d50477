"""Which graphs leave products to onnxruntime that are worth threads of its own."""

import pytest
from built import Built, replaced
from vflc_kernels.replace import replace


@pytest.mark.parametrize(
    ("precision", "inputs", "outputs", "heavy"),
    [
        ("float32", 128, 64, False),  # ours
        ("float64", 128, 64, True),
        ("float64", 32, 16, False),
        ("float32", 128, 1, False),
        ("float32", 1500, 1, True),  # reading its input takes long
    ],
)
def test_layers(precision: str, inputs: int, outputs: int, heavy: bool) -> None:
    built = Built(precision)
    built.inputs = {"x": ("rows", inputs), "k": (inputs, outputs), "b": (outputs,)}
    model = built.model([built.add("Gemm", "x", "k", "b")])
    texts, found = replace(model)
    assert found == heavy
    assert bool(texts) == (precision == "float32" and outputs > 1)


def test_products_of_unknown_size_may_be_large() -> None:
    built = Built("float32")
    built.inputs = {"x": ("rows", 8), "y": (8, 4), "s": (2,)}
    product = built.add("MatMul", "x", "y")
    assert replace(built.model([product]))[1] is False
    built.inputs["x"] = ()
    whole = built.constant([0], "int64")
    unknown = built.add("Reshape", "x", built.add("NonZero", whole))
    assert replace(built.model([built.add("MatMul", unknown, "y")]))[1] is True


def test_no_products() -> None:
    built = Built("float32")
    built.inputs = {"x": ("rows", 8)}
    model = built.model([built.add("Concat", "x", "x", axis=1)])
    assert replace(model) == ([], False)
    assert replaced(model)[1] == []
