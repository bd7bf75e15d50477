"""The work of `check` grows as the number of columns does: lines executed are counted, not seconds."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from vflc.diagnostics import SourceText
from vflc.driver import check_source

PARTIES = """
party alice {{
  key ID
  feature C{{1..{count}}}: string -> hash(100)
  feature N{{1..{count}}}: float -> standardize
}}
party bob {{
  key ID
  feature D: string -> hash(100)
  column R: int
  label y = R > 3
}}
"""
END = """
logit = dense(mlp(concat(h, dense(flatten(embed([bob.D], dim = 2)), 4)), [4]), 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
train {{ optimizer adam(lr = 0.001) }}
"""
MODELS = {
    "embedded": "h = mlp(flatten(embed(alice.categories, dim = 4)), [8])\n",
    "numbers": "h = mlp(concat(alice.numbers), [8])\n",
    "each by itself": "h = mlp(concat([dense(x, 2) for x in alice.numbers]), [8])\n",
    "factors": "e = embed(alice.categories, dim = 4)\n"
    "h = mlp(concat(sum(e, axis = field), sum(square(e)), sum(embed(alice.categories, dim = 1))), [8])\n",
}


def lines(body: str, count: int) -> int:
    """Lines of the compiler that `check` executes; a comprehension's line counts every time round."""
    source = SourceText("x.vfl", (PARTIES + body + END).format(count=count))
    check_source(SourceText("y.vfl", source.text.replace(f"1..{count}", "1..2")))  # loads what is loaded once
    counted = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal counted
        if "vflc" not in frame.f_code.co_filename:
            return None
        counted += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = check_source(source)
    finally:
        sys.settrace(before)
    assert not [d for d in found if d.code != "VFL0340" and d.level == "error"], found[:2]
    return counted


@pytest.mark.parametrize("name", MODELS)
def test_four_times_the_columns_are_four_times_the_work(name: str) -> None:
    few, many = lines(MODELS[name], 60), lines(MODELS[name], 240)
    assert many < 4.3 * few, f"{many / few:.2f} times the work for four times the columns"
