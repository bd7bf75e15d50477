"""What the shape rules of ops refuse: an op that a pass applies, and no user, has no other guard."""

from __future__ import annotations

import pytest

from vflc.ir.types import BATCH, Axis, TensorType
from vflc.ops import OPS, OpError
from vflc.ops.rules import broadcast, tensor

OPEN = TensorType((Axis(BATCH, None), Axis("value", None), Axis("more", None)))
FIELDS = tensor(None, ("field", 4), 3)
TRUTH = tensor(None, 3, dtype="bool")
REFUSED = [
    ("sum", (FIELDS,), {"axes": (1, 1), "keep": False}),
    ("sum", (FIELDS,), {"axes": (3,), "keep": False}),
    ("mean", (FIELDS,), {"axes": (-1,), "keep": False}),
    ("max", (tensor(None, 3, dtype="int"),), {"axes": (1,), "keep": False}),
    ("count", (FIELDS,), {"axes": (3,)}),
    ("reshape", (FIELDS,), {"sizes": (13,), "names": (None,)}),
    ("reshape", (FIELDS,), {"sizes": (None, 12), "names": (None, None)}),
    ("reshape", (tensor(None, ("value", None)),), {"sizes": (1,), "names": (None,)}),
    ("reshape", (OPEN,), {"sizes": (1,), "names": (None,)}),
    ("reshape", (OPEN,), {"sizes": (None, None), "names": (None, None)}),
    ("reshape", (OPEN,), {"sizes": (None,), "names": (None,)}),
    ("reshape", (OPEN,), {"sizes": (None, 1), "names": ("a", None)}),
    ("transpose", (FIELDS,), {"perm": (0, 1, 1)}),
    ("transpose", (FIELDS,), {"perm": (1, 0, 2)}),
    ("expand_like", (tensor(None, 3), tensor(None, 4)), {}),
    ("expand_like", (tensor(None, 3), tensor(None, 1)), {}),
    ("unsqueeze", (FIELDS,), {"axis": 4, "name": None}),
    ("unsqueeze", (FIELDS,), {"axis": -1, "name": None}),
    ("squeeze", (FIELDS,), {"axis": 1}),
    ("squeeze", (tensor(None, 1),), {"axis": 2}),
    ("rename", (FIELDS,), {"names": (BATCH, "a")}),
    ("rename", (FIELDS,), {"names": (BATCH, "a", "a")}),
    ("rename", (FIELDS,), {"names": ("a", "b", "c")}),
    ("bce_terms", (tensor(None, 1), tensor(None, 2)), {}),
    ("bce_terms", (tensor(None, 1), tensor(None, 1, dtype="int")), {}),
    ("cce_terms", (tensor(None, 3), tensor(None, 4)), {}),
    ("cce_terms", (tensor(None, 3), tensor(None, 3, dtype="int")), {}),
    ("cce_terms", (tensor(None, 3), tensor(None, 3, dtype="bool")), {}),
    ("cce_terms", (tensor(None, 3, dtype="int"), tensor(None, dtype="int")), {}),
    ("concat", (FIELDS, tensor(None, ("field", 5), 3)), {"axis": 2}),
    ("concat", (FIELDS, tensor(4, 4, 3)), {"axis": 2}),
    ("concat", (FIELDS, tensor(None, 3)), {"axis": 1}),
    ("concat", (FIELDS, FIELDS), {"axis": 0}),
    ("concat", (OPEN, OPEN), {"axis": 1}),
    ("stack", (FIELDS, tensor(None, ("field", 4), 2)), {"axis": 1, "name": "part"}),
    ("stack", (FIELDS, FIELDS), {"axis": 0, "name": "part"}),
    ("slice", (FIELDS,), {"axis": 1, "start": 2, "stop": 2}),
    ("slice", (FIELDS,), {"axis": 1, "start": 2, "stop": 5}),
    ("slice", (FIELDS,), {"axis": 1, "start": -1, "stop": 2}),
    ("slice", (FIELDS,), {"axis": 0, "start": 0, "stop": 1}),
    ("slice", (OPEN,), {"axis": 1, "start": 0, "stop": 1}),
    ("matmul", (tensor(3, 4), tensor(5, 2)), {"transpose_x": False, "transpose_y": False}),
    ("matmul", (tensor(3, 4), tensor(4, 2)), {"transpose_x": False, "transpose_y": True}),
    ("matmul", (tensor(3, 4), tensor(4)), {"transpose_x": False, "transpose_y": False}),
    ("matmul", (tensor(None, 4), tensor(None, 4, 2)), {"transpose_x": False, "transpose_y": False}),
    ("matmul", (tensor(4, 3), tensor(None, 3)), {"transpose_x": False, "transpose_y": True}),
    ("linear", (tensor(None, 4), tensor(3, 2)), {}),
    ("linear", (tensor(None, 4), tensor(4)), {}),
    ("linear", (tensor(4), tensor(4, 2)), {}),
    ("linear", (tensor(None, 4), tensor(None, 2)), {}),
    ("linear", (tensor(None, 4), tensor(4, 2), tensor(3)), {}),
    ("linear", (tensor(None, 4), tensor(4, 2), tensor(None)), {}),
    ("contract", (tensor(None, 4), tensor(5, 2)), {}),
    ("contract", (tensor(None, ("field", 3), 4), tensor(None, ("field", 2), 4)), {}),
    ("contract", (tensor(4), tensor(4)), {}),
    ("add", (tensor(None, 3), tensor(None, 3, dtype="int")), {}),
    ("greater", (tensor(None, 3), tensor(None, 3, dtype="int")), {}),
    ("where", (tensor(None, 3, dtype="bool"), tensor(None, 3), tensor(None, 3, dtype="int")), {}),
    ("concat", (tensor(None, 3), tensor(None, 3, dtype="int")), {"axis": 1}),
    ("stack", (tensor(None, 3), tensor(None, 3, dtype="int")), {"axis": 1, "name": "part"}),
    ("one_hot", (tensor(None, dtype="int"),), {"depth": 0}),
    ("one_hot", (tensor(None),), {"depth": 3}),
    *[(name, (TRUTH, TRUTH), {}) for name in ("add", "mul", "minimum", "pow", "less", "equal", "not_equal")],
    *[(name, (tensor(None, 3, dtype="int"),), {}) for name in ("neg", "exp", "relu", "gelu", "sigmoid")],
    *[(name, (TRUTH, tensor(None, 3)), {}) for name in ("logical_and", "logical_or")],
    *[(name, (tensor(None, 3), TRUTH), {}) for name in ("logical_and", "logical_or")],
    ("logical_not", (tensor(None, 3),), {}),
    ("where", (tensor(None, 3), tensor(None, 3), tensor(None, 3)), {}),
    ("where", (tensor(None, 3, dtype="int"), tensor(None, 3), tensor(None, 3)), {}),
    ("where", (TRUTH, TRUTH, TRUTH), {}),
    ("clip", (tensor(None, 3),), {"low": 0.5, "high": 0.4}),
    ("clip", (tensor(None, 3, dtype="int"),), {"low": 0.4, "high": 0.5}),
    ("leaky_relu", (tensor(None, 3, dtype="int"),), {"alpha": 0.5}),
    *[(name, (FIELDS,), {"axis": axis}) for name in ("softmax", "log_softmax") for axis in (-1, 0, 3)],
    *[(name, (tensor(3),), {"axis": axis}) for name in ("softmax", "log_softmax") for axis in (-1, 1)],
    ("softmax", (tensor(None, 3, dtype="int"),), {"axis": 1}),
    ("count", (FIELDS,), {"axes": (-1,)}),
    ("matmul", (tensor(4), tensor(4, 2)), {"transpose_x": False, "transpose_y": False}),
    ("matmul", (tensor(None, 4), tensor(None, 4)), {"transpose_x": True, "transpose_y": False}),
    ("matmul", (tensor(None, 4), tensor(None, 4)), {"transpose_x": False, "transpose_y": True}),
    ("matmul", (tensor(None, 4, dtype="int"), tensor(4, 2)), {"transpose_x": False, "transpose_y": False}),
    ("matmul", (tensor(3, 2, 4), tensor(2, 4, 2)), {"transpose_x": False, "transpose_y": False}),
    ("linear", (tensor(None, 4), tensor(4, 2), tensor(1, 2)), {}),
    ("linear", (tensor(None, 4), tensor(2, 4, 2)), {}),
    ("linear", (tensor(None, 4), tensor(4, 2, dtype="int")), {}),
    ("contract", (tensor(None, 4), tensor(None, 2, dtype="int")), {}),
    ("contract", (tensor(2, 4), tensor(None, 4)), {}),
    ("gather", (tensor(None, 4), tensor(None, dtype="int")), {"missing": False}),
    ("gather", (tensor(), tensor(None, dtype="int")), {"missing": False}),
    ("gather", (tensor(4, 2), tensor(None)), {"missing": False}),
    ("rows", (tensor(None, dtype="int"), tensor(None, 3)), {"axes": (Axis("row", 6), Axis(None, 2))}),
    ("rows", (tensor(None, dtype="int"), tensor(3, 2)), {"axes": (Axis("row", 6), Axis(None, 2))}),
    ("rows", (tensor(None), tensor(None, 2)), {"axes": (Axis("row", 6), Axis(None, 2))}),
    (
        "rows", (tensor(None, dtype="int"), tensor(None, 2, dtype="int")),
        {"axes": (Axis("row", 6), Axis(None, 2))},
    ),
    ("unique", (tensor(None, dtype="int"), tensor(None)), {}),
    ("when_training", (tensor(None, 3), tensor(None, 2)), {}),
    ("when_training", (tensor(None, 3), TRUTH), {}),
    ("random", (TRUTH,), {}),
    ("bce_terms", (tensor(None, 1, dtype="int"), tensor(None, 1)), {}),
    ("cce_terms", (tensor(), tensor(dtype="int")), {}),
    ("cce_terms", (tensor(None, 3), tensor(None, 3, dtype="bool")), {}),
    ("cce_terms", (tensor(None, 3), tensor(None, dtype="bool")), {}),
    ("stack", (FIELDS, FIELDS), {"axis": 4, "name": "part"}),
    ("stack", (tensor(None, 4), tensor(2, 4)), {"axis": 1, "name": "part"}),
    ("concat", (FIELDS, FIELDS), {"axis": 3}),
    ("slice", (FIELDS,), {"axis": 3, "start": 0, "stop": 1}),
    ("transpose", (FIELDS,), {"perm": (0, 1)}),
    ("squeeze", (tensor(1, 3),), {"axis": -1}),
    ("shifted", (tensor(None, dtype="int"), tensor(None)), {"classes": 3}),
    ("shifted", (tensor(None, dtype="int"), tensor(None, 1, dtype="int")), {"classes": 3}),
    ("answered", (tensor(None),) * 3, {"classes": 3, "top": (0, 1)}),
    ("answered", (tensor(None, dtype="int"), tensor(None), tensor(None, dtype="int")), {"top": (0, 1)}),
    ("answered", (tensor(None, dtype="int"),) * 2 + (tensor(None, 1, dtype="int"),), {"top": (0, 1)}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "types", "attrs"), REFUSED)
def test_refused(op: str, types: tuple[TensorType, ...], attrs: dict) -> None:
    with pytest.raises(OpError):
        OPS[op].infer(types, attrs)


FITS = [
    ("clip", (tensor(None, 3),), {"low": 0.4, "high": 0.4}, "[3]"),
    ("softmax", (tensor(None, 3),), {"axis": 1}, "[3]"),
    ("softmax", (FIELDS,), {"axis": 2}, "[field 4, 3]"),
    ("log_softmax", (tensor(3),), {"axis": 0}, "[3] (once)"),
    ("count", (FIELDS,), {"axes": (0, 2)}, "[] (once)"),
    ("matmul", (FIELDS, tensor(None, 3, 2)), {"transpose_x": False, "transpose_y": False}, "[field 4, 2]"),
    ("matmul", (tensor(2, 4), tensor(2, 3)), {"transpose_x": True, "transpose_y": False}, "[4, 3] (once)"),
    ("matmul", (tensor(None, 3), tensor(3, 4)), {"transpose_x": False, "transpose_y": False}, "[4]"),
    ("gather", (tensor(4), tensor(None, dtype="int")), {"missing": False}, "[]"),
    ("gather", (tensor(4, 2, 3), tensor(None, 5, dtype="int")), {"missing": True}, "[5, 2, 3]"),
    ("unique", (tensor(None, dtype="int"), tensor(None, 3, dtype="int")), {}, "[touched ?] int (once)"),
    ("where", (tensor(None, 3, dtype="bool"),) + (tensor(None, 3, dtype="int"),) * 2, {}, "[3] int"),
    ("minimum", (tensor(None, 3, dtype="int"),) * 2, {}, "[3] int"),
    ("less", (tensor(None, 3, dtype="int"),) * 2, {}, "[3] bool"),
    ("cast", (tensor(None, 3, dtype="int"),), {"dtype": "float"}, "[3]"),
    ("random", (FIELDS,), {"label": "x"}, "[field 4, 3]"),
    ("rename", (FIELDS,), {"names": (BATCH, None, None)}, "[4, 3]"),
    ("transpose", (tensor(2, 3),), {"perm": (1, 0)}, "[3, 2] (once)"),
    ("expand_like", (tensor(), tensor()), {}, "[] (once)"),
    ("reshape", (tensor(None, ("value", None), 3),), {"sizes": (3, None), "names": (None, "a")}, "[3, a ?]"),
    ("constant", (), {"value": ((1, 2), (3, 4), (5, 6)), "dtype": "int"}, "[3, 2] int (once)"),
    ("constant", (), {"value": True, "dtype": "bool"}, "[] bool (once)"),
    ("shifted", (tensor(None, 1), tensor(None, 1)), {"classes": 2}, "[1]"),
    ("answered", (tensor(None, dtype="int"),) * 3, {"top": (0, 1)}, "[] int"),
    ("cce_terms", (FIELDS, tensor(None, 4, dtype="int")), {}, "[field 4, 1]"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "types", "attrs", "found"), FITS)
def test_accepted(op: str, types: tuple[TensorType, ...], attrs: dict, found: str) -> None:
    assert str(OPS[op].infer(types, attrs)) == found


@pytest.mark.parametrize(
    ("types", "sizes"),
    [
        ((tensor(None, 3), tensor(3)), (None, 3)),
        ((tensor(None, 1), tensor(4)), (None, 4)),
        ((tensor(None, 3), tensor(1, 3)), (None, 3)),
        ((tensor(None, 3), tensor(5, 3)), None),
        ((tensor(None, 3), tensor(2, 1, 3)), None),
        ((tensor(None, 3), tensor(None, 4)), None),
        ((tensor(4), tensor(2, 1)), (2, 4)),
        ((tensor(None), TensorType((Axis("value", None),))), None),
    ],
)
def test_broadcasting_keeps_rows_first(
    types: tuple[TensorType, ...], sizes: tuple[int | None, ...] | None
) -> None:
    """A row is never brought together with an axis of a value that is the same for all rows."""
    if sizes is None:
        with pytest.raises(OpError):
            broadcast(types)
    else:
        assert tuple(axis.size for axis in broadcast(types)) == sizes
