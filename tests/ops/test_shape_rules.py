"""What the shape rules of ops refuse: an op that a pass applies, and no user, has no other guard."""

from __future__ import annotations

import pytest

from vflc.ir.types import BATCH, Axis, TensorType
from vflc.ops import OPS, OpError
from vflc.ops.rules import broadcast, tensor

OPEN = TensorType((Axis(BATCH, None), Axis("value", None), Axis("more", None)))
FIELDS = tensor(None, ("field", 4), 3)
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
]


@pytest.mark.parametrize(("op", "types", "attrs"), REFUSED)
def test_refused(op: str, types: tuple[TensorType, ...], attrs: dict) -> None:
    with pytest.raises(OpError):
        OPS[op].infer(types, attrs)


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
