"""Operators shared out by fewer threads than they have: the same numbers, and the others sleep."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vflc_kernels
from operators import operator_session
from vflc_kernels.programs import Instruction, Program

pytestmark = pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")

THREADS = 4
TASKS = Path("/proc/self/task")


@pytest.fixture(autouse=True)
def all_threads() -> Iterator[None]:
    yield
    vflc_kernels.use_threads(0)


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 9, 0])
@pytest.mark.parametrize("own", [{"threads": THREADS}, {"pooled": THREADS}], ids=["session", "pool"])
def test_numbers_are_the_same(threads: int, own: dict[str, int]) -> None:
    rng = np.random.default_rng(threads)
    x = rng.normal(size=200_003)
    program = Program(1, (Instruction("Exp", (0,)), Instruction("Add", (0, 1))), (2,))
    (due,) = operator_session("FusedDouble", [x], 1, program.attributes()).run(None, {"x0": x})
    session = operator_session("FusedDouble", [x], 1, program.attributes(), **own)
    vflc_kernels.use_threads(threads)
    for _ in range(20):
        (found,) = session.run(None, {"x0": x})
        np.testing.assert_array_equal(found, due)


@pytest.mark.skipif(not TASKS.is_dir(), reason="only Linux tells how often a thread woke")
def test_other_threads_sleep() -> None:
    x = np.ones(400_000)
    program = Program(1, (Instruction("Sqrt", (0,)),), (1,))
    before = {each.name for each in TASKS.iterdir()}
    session = operator_session("FusedDouble", [x], 1, program.attributes(), THREADS)
    own = {each.name for each in TASKS.iterdir()} - before
    assert len(own) == THREADS - 1

    def woken(threads: int) -> int:
        """How many of the session's own threads woke while the operator ran."""
        start = asleep(own)
        vflc_kernels.use_threads(threads)
        for _ in range(20):
            session.run(None, {"x0": x})
        vflc_kernels.use_threads(0)
        end = asleep(own)
        return sum(start[name] != end[name] for name in own)

    assert woken(1) == 0
    for threads in (0, 2):  # this thread may have done all before another is awake, but not every time
        assert any(woken(threads) for _ in range(20))


def asleep(names: set[str]) -> dict[str, Any]:
    """The switches of threads, as soon as all of them sleep."""
    last: dict[str, Any] = {}
    while last != (last := switches(names)):
        time.sleep(0.02)
    return last


def switches(names: set[str]) -> dict[str, Any]:
    """What Linux says of how often threads stopped and went on, by their ids."""
    lines = {name: (TASKS / name / "status").read_text().splitlines() for name in names}
    return {name: [line for line in each if "ctxt_switches" in line] for name, each in lines.items()}
