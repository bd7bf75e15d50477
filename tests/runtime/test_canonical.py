"""The canonical form of data is that of Python's json, which digests of bundles are made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vflc_common.canonical import canonical

TEXTS = st.text() | st.text(alphabet='\\"/\0\x1f\x7f\ud800é\u2028[]{},: \n')
ONE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
DATA = st.recursive(ONE, lambda part: st.lists(part) | st.dictionaries(TEXTS, part), max_leaves=20)


@given(DATA)
def test_it_is_json_with_sorted_keys_and_a_space_a_level(data: Any) -> None:
    assert canonical(data) == json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_not_finite_has_none(number: float) -> None:
    with pytest.raises(ValueError):
        canonical({"x": [number]})
