"""Weights do not depend on how many threads numpy's BLAS has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from protect.protecting import Recorded, batch, bundle
from threadpoolctl import threadpool_limits
from vflc_runtime.blas import one_thread
from vflc_runtime.protect.noise import Noise
from vflc_runtime.protect.solvers.marvell import Marvell

RUNTIME = Path(__file__).parents[2] / "runtime" / "vflc_runtime"
TRAINS_NOTHING = ("audit", "verify")
CALLS = {
    "dot", "vdot", "inner", "outer", "matmul", "tensordot", "einsum", "linalg", "matvec", "vecmat", "vecdot",
}  # fmt: skip
KNOWN = {
    "protect/solvers/marvell.py": "in `one_thread`",
    "finite.py": "looks whether it is finite",
}


def products(path: Path) -> Iterator[int]:
    """Lines of a file at which numpy may call BLAS."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        product = isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.MatMult)
        if product or (isinstance(node, ast.Attribute) and node.attr in CALLS):
            yield node.lineno


def test_whatever_calls_blas_is_known() -> None:
    found = {
        str(path.relative_to(RUNTIME)): lines
        for path in sorted(RUNTIME.rglob("*.py"))
        if path.relative_to(RUNTIME).parts[0] not in TRAINS_NOTHING and (lines := list(products(path)))
    }
    assert set(found) == set(KNOWN), found


def differs(size: int) -> bool:
    """Whether one thread and two round otherwise here, in what a mechanism computes."""
    square = np.random.default_rng(0).normal(size=(size, size))
    made = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            made.append(np.linalg.eigh(square + square.T)[1] @ square)
    return not np.array_equal(*made)


def test_a_mechanism_has_the_same_bits_with_one_thread_and_with_more() -> None:
    draw = np.random.default_rng(0)
    gradients, labels = draw.normal(size=(999, 300)), draw.integers(0, 2, 999)
    made = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, "blas"):
            made.append(Marvell(0.25)(gradients, labels, Noise(np.random.default_rng(1).bytes)))
    assert all(np.array_equal(made[0], other) for other in made[1:])
    if not differs(300):
        pytest.skip("this machine's BLAS rounds alike with two threads")


def test_a_step_has_the_same_bits_with_one_thread_and_with_more(tmp_path: Path) -> None:
    from protect.protecting import TWO

    text = TWO.replace("[6]", "[260]") + "protect gradients to alice with marvell(sum_kl = 0.5)\n"
    folder, made = bundle(text, tmp_path / "b", precision="float64"), []
    for threads in (1, 2):

        def seeded(guards: object) -> None:
            guards._noise = Noise(np.random.default_rng(2).bytes)  # type: ignore[attr-defined]

        with threadpool_limits(threads, "blas"):
            at = Recorded(folder, change=seeded)
            for step in range(2):
                at.step(batch(333, step))
            made.append(at.session.weights())
    assert all(np.array_equal(made[0][name], made[1][name]) for name in made[0])


def test_threads_are_given_back() -> None:
    from threadpoolctl import threadpool_info

    def threads() -> list[int]:
        return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

    with threadpool_limits(2, "blas"):
        before = threads()
        with one_thread():
            assert set(threads()) <= {1}
        assert threads() == before
