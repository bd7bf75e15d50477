"""What a graph computes of constants: what onnx's own reference computes of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from vflc.diagnostics import Refused
from vflc.onnx_file import Numbers, OnnxNode
from vflc.translation.onnx_call import NodeCall
from vflc.translation.onnx_fold import COMPUTED, LAYOUT, folded
from vflc.translation.onnx_parts import MOST_COMPUTED
from vflc.translation.onnx_values import OnnxConstant

RNG = np.random.default_rng()
FLOAT = RNG.normal(size=(2, 1, 3)).astype("float32")
DOUBLE = RNG.normal(size=(2, 1, 3))
OTHER = RNG.normal(size=(4, 1)).astype("float32")
WHOLE = RNG.integers(1, 9, (2, 3)) * np.array([1, -1, 1])
ROW = np.array([2, 3, -4])
ODD = np.array([-2.5, -1.0, -0.0, 0.0, 1.0, 2.0, 200.0, np.inf, -np.inf, np.nan], "float32")
EACH = ODD[:, None]
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Transpose", [FLOAT], {}),
    ("Transpose", [FLOAT], {"perm": [2, 0, 1]}),
    ("Reshape", [FLOAT, np.array([0, -1])], {}),
    ("Reshape", [np.zeros((0, 2), "float32"), np.array([2, 0])], {"allowzero": 1}),
    ("Unsqueeze", [FLOAT, np.array([0, -1])], {}),
    ("Squeeze", [FLOAT], {}),
    ("Squeeze", [FLOAT, np.array([-2])], {}),
    *(("Cast", [given], {"to": to}) for given in (FLOAT * 9, WHOLE, DOUBLE) for to in (1, 6, 7, 9, 11)),
    ("Cast", [ODD[:-3]], {"to": 10}),
    ("Identity", [FLOAT], {}),
    ("Concat", [FLOAT, FLOAT, -FLOAT], {"axis": -1}),
    ("Concat", [WHOLE, WHOLE], {"axis": 0}),
    ("Expand", [FLOAT, np.array([5, 1, 4, 1])], {}),
    ("Range", [np.int64(3), np.int64(-9), np.int64(-2)], {}),
    ("Range", [np.float32(0), np.float32(1), np.float32(0.3)], {}),
    ("Range", [np.int64(3), np.int64(3), np.int64(1)], {}),
    ("Slice", [FLOAT, np.array([-1]), np.array([-9]), np.array([2]), np.array([-2])], {}),
    ("Slice", [FLOAT, np.array([0, 1]), np.array([2**62, 3]), np.array([0, -1])], {}),
    ("Gather", [FLOAT, np.array([[1, -1], [0, 0]])], {"axis": 2}),
    ("Gather", [ROW, np.array(-1)], {}),
    ("Where", [FLOAT > 0, FLOAT, OTHER], {}),
    *((op, [FLOAT, OTHER], {}) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Equal")),
    *((op, [WHOLE, ROW], {}) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Equal")),
    *((op, [ODD, EACH], {}) for op in ("Add", "Sub", "Mul", "Div", "Equal", "Pow", "Max", "Min")),
    ("Pow", [FLOAT, np.array([2])], {}),
    ("Pow", [np.abs(DOUBLE), DOUBLE], {}),
    *((op, [given], {}) for op in ("Neg", "Sqrt", "Exp", "Abs") for given in (FLOAT, DOUBLE, ODD)),
    ("Neg", [WHOLE], {}),
    ("Abs", [WHOLE], {}),
]  # fmt: skip


def computed(op: str, given: list[Any], attrs: dict[str, Any]) -> Numbers:
    model: Any = SimpleNamespace(room=MOST_COMPUTED)
    names = tuple(f"i{index}" for index in range(len(given)))
    constants = [OnnxConstant(Numbers.of_array(np.asarray(each))) for each in given]
    made = folded(NodeCall(OnnxNode(op, "", "node", names, ("o",), attrs), constants, model))
    assert made is not None
    return made[0].numbers


def reference(op: str, given: list[Any], attrs: dict[str, Any]) -> Any:
    arrays = [np.asarray(each) for each in given]
    inputs = [
        helper.make_tensor_value_info(f"i{index}", helper.np_dtype_to_tensor_dtype(each.dtype), each.shape)
        for index, each in enumerate(arrays)
    ]
    node = helper.make_node(op, [each.name for each in inputs], ["o"], **attrs)
    output = helper.make_tensor_value_info("o", onnx.TensorProto.UNDEFINED, None)
    made = helper.make_model(
        helper.make_graph([node], "g", inputs, [output]), opset_imports=[helper.make_opsetid("", 18)]
    )
    with np.errstate(all="ignore"):
        (found,) = ReferenceEvaluator(made).run(
            None, {each.name: array for each, array in zip(inputs, arrays, strict=True)}
        )
    return np.asarray(found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_it_is_what_onnx_computes(case: tuple[str, list[Any], dict[str, Any]]) -> None:
    found, wanted = computed(*case).array(), reference(*case)
    assert found.dtype == wanted.dtype
    exact = case[0] not in ("Exp", "Pow")
    np.testing.assert_allclose(found, wanted, rtol=0 if exact else 3e-7, atol=0)


def test_every_operator_has_a_case() -> None:
    assert {op for op, _, _ in CASES} == {*LAYOUT, *COMPUTED}


@pytest.mark.parametrize(
    "case",
    [
        ("Transpose", [FLOAT], {"perm": [0, 0, 1]}), ("Reshape", [FLOAT, np.array([4])], {}),
        ("Squeeze", [FLOAT, np.array([0])], {}), ("Unsqueeze", [FLOAT, np.array([9])], {}),
        ("Unsqueeze", [FLOAT, np.array([0, 0])], {}), ("Reshape", [FLOAT, np.array([6, 1, 1, 0])], {}),
        ("Cast", [ODD], {"to": 7}), ("Expand", [FLOAT, np.array([-1])], {}),
        ("Expand", [FLOAT, np.array([1 << 40])], {}), ("Expand", [FLOAT, np.array([5])], {}),
        ("Range", [np.int64(0), np.int64(1 << 60), np.int64(1)], {}),
        ("Range", [np.int64(0), np.int64(1), np.int64(0)], {}), ("Gather", [ROW, np.array([3])], {}),
        ("Gather", [ROW, np.zeros(MOST_COMPUTED + 1, "int8")], {}), ("Add", [FLOAT, DOUBLE], {}),
        ("Div", [WHOLE, np.array([0])], {}), ("Mul", [ROW, np.array([1 << 62])], {}),
        ("Concat", [FLOAT, DOUBLE], {}), ("Concat", [FLOAT, FLOAT], {"axis": 3}),
        ("Slice", [FLOAT, np.array([0]), np.array([1]), np.array([7])], {}),
        ("Pow", [np.array([3]), np.array([1 << 40])], {}),
        ("Cast", [np.array(["a"], object)], {"to": 1}), ("Add", [np.array(["a"], object)] * 2, {}),
    ],
    ids=lambda case: case[0],
)  # fmt: skip
def test_what_has_no_result_is_refused(case: tuple[str, list[Any], dict[str, Any]]) -> None:
    with pytest.raises(Refused) as found:
        computed(*case)
    assert found.value.diagnostics[0].code in ("VFL0707", "VFL0709")
