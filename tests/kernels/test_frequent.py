"""Programs that have a loop of their own, beside what they mean in NumPy; and that training runs these."""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import vflc_kernels
from operators import Array, run_operator
from vflc_kernels.programs import Instruction, Program
from vflc_runtime.run.session import Session

from vflc.driver import compile_spec

pytestmark = pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")

DEEPFM = Path(__file__).parents[2] / "specs" / "deepfm" / "deepfm.vfl"


def program(inputs: int, steps: Sequence[tuple[str, *tuple[int, ...]]], outputs: tuple[int, ...]) -> Program:
    return Program(inputs, tuple(Instruction(name, tuple(rest)) for name, *rest in steps), outputs)


MOMENTS = [("MulAdd", 0, 1, 2), ("Mul", 2, 2), ("MulAdd", 3, 4, 9), ("Sqrt", 10), ("Add", 11, 5)]
ADAM = program(8, [*MOMENTS, ("Div", 8, 12), ("SubMul", 13, 6, 7)], (8, 10, 14))
ROWS = program(8, [*MOMENTS, ("Div", 8, 12)], (8, 10, 13))
MISSED = program(
    8,
    [("Sqrt", 1), ("Add", 8, 0), ("Div", 0, 9), ("MulAdd", 10, 4, 7), ("MulAdd", 10, 11, 2), ("Div", 1, 9),
     ("SubMul", 13, 12, 1)],
    (14,),
)  # fmt: skip
CATCH_UP = program(
    8,
    [("Sqrt", 1), ("Add", 8, 0), ("Div", 0, 9), ("MulAdd", 10, 7, 6), ("MulAdd", 10, 11, 5), ("Div", 2, 9),
     ("SubMul", 13, 12, 4)],
    (14,),
)  # fmt: skip


def frequent() -> int:
    loaded = ctypes.CDLL(str(vflc_kernels.library()))
    loaded.vflc_kernels_frequent.restype = ctypes.c_int64
    return int(loaded.vflc_kernels_frequent())


def given(rows: int, kind: type) -> list[Array]:
    """Numbers [], vectors [rows, 17] and columns [rows, 1], where the programs above read such."""
    rng = np.random.default_rng(rows)
    forms = [(), (rows, 17), (rows, 17), (), (rows, 17), (), (), (rows, 17)]
    return [np.asarray(np.abs(rng.normal(size=form)), kind) for form in forms]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [2, 61, 3001])
@pytest.mark.parametrize("form", [ADAM, ROWS], ids=["all", "rows"])
def test_adam_has_the_bits_of_its_meaning(form: Program, rows: int, kind: type) -> None:
    arrays, before = given(rows, kind), frequent()
    name = "Fused" if kind == np.float32 else "FusedDouble"
    for threads in (1, 3):
        found = run_operator(name, arrays, len(form.outputs), form.attributes(), threads)
        for made, due in zip(found, form.run(arrays), strict=True):
            np.testing.assert_array_equal(made, due)
    assert frequent() == before + 2


@pytest.mark.parametrize("rows", [2, 61, 3001])
def test_rows_that_catch_up_have_the_bits_of_its_meaning(rows: int) -> None:
    arrays, before = given(rows, np.float32), frequent()
    arrays[5:] = [array[:, :1].copy() for array in (arrays[1], arrays[2], arrays[4])]
    (made,) = run_operator("Fused", arrays, 1, CATCH_UP.attributes())
    np.testing.assert_array_equal(made, CATCH_UP.run(arrays)[0])
    assert frequent() == before + 1


def test_what_only_looks_alike_goes_through_blocks() -> None:
    """Where one number stands for an array, an array for one number, or where one is read twice."""
    before = frequent()
    for place, shape in ((6, (61, 17)), (7, ()), (1, ())):
        arrays = given(61, np.float32)
        arrays[place] = np.full(shape, 0.25, np.float32)
        found = run_operator("Fused", arrays, 3, ADAM.attributes())
        for made, due in zip(found, ADAM.run(arrays), strict=True):
            np.testing.assert_array_equal(made, due)
    (made,) = run_operator("Fused", given(61, np.float32), 1, MISSED.attributes())
    np.testing.assert_array_equal(made, MISSED.run(given(61, np.float32))[0])
    assert frequent() == before


def test_a_step_of_training_runs_them(tmp_path: Path) -> None:
    """Each party updates its dense weights and its rows; these catch up before, from the second step on."""
    compile_spec(DEEPFM).write(tmp_path)
    session = Session(tmp_path, programs=("train",))
    inputs = {
        name: np.zeros(
            (8, *(size or 3 for size in each.shape[1:])), np.int32 if each.dtype == "int" else np.float32
        )
        for plan in session.bundle.plans.values()
        for name, each in plan.inputs.items()
    }
    session.step(inputs)
    before = frequent()
    session.step(inputs)
    assert frequent() == before + 6
