"""The operator `Fused` against its meaning in NumPy, on random programs and shapes."""

import numpy as np
import pytest
import vflc_kernels
from hypothesis import given
from hypothesis import strategies as st
from operators import Array, run_in_place, run_operator
from vflc_kernels.programs import MEANINGS, Instruction, Program

pytestmark = pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")

ROUNDED = {"Exp", "Log", "Sigmoid", "Tanh", "Pow"}
"""Computed to some units in the last place."""
SHAPES = [(), (1,), (3,), (2, 3), (2, 1), (1, 3), (5, 2, 3), (5, 1, 3), (5, 2, 1), (5, 1, 1), (0, 2, 3)]


def fused(program: Program, given: list[Array], threads: int = 1) -> list[Array]:
    name = "Fused" if given[0].dtype == np.float32 else "FusedDouble"
    return run_operator(name, given, len(program.outputs), program.attributes(), threads)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    inputs = draw(st.integers(1, 4))
    instructions = list[Instruction]()
    for index in range(draw(st.integers(1, 12))):
        name = draw(st.sampled_from(sorted(MEANINGS.keys() - ROUNDED)))
        operand = st.integers(0, inputs + index - 1)
        instructions.append(Instruction(name, tuple(draw(operand) for _ in range(MEANINGS[name][0]))))
    outputs = draw(
        st.lists(st.integers(0, inputs + len(instructions) - 1), min_size=1, max_size=3, unique=True)
    )
    return Program(inputs, tuple(instructions), tuple(outputs))


@given(programs(), st.data(), st.sampled_from([np.float32, np.float64]))
def test_random_programs(program: Program, data: st.DataObject, kind: type) -> None:
    shapes = data.draw(st.lists(st.sampled_from(SHAPES), min_size=program.inputs, max_size=program.inputs))
    if any(0 in shape for shape in shapes):
        shapes = [shape if 0 in shape or 5 not in shape else () for shape in shapes]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    special = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan], kind)
    arrays = [
        np.where(rng.random(shape) < 0.2, rng.choice(special, shape), rng.normal(size=shape)).astype(kind)
        for shape in shapes
    ]
    due = program.run(arrays)
    for form in (program, program.paired()):
        for made, wanted in zip(fused(form, arrays), due, strict=True):
            assert made.shape == wanted.shape and made.dtype == wanted.dtype
            np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize("size", [1, 7, 1023, 1024, 1025, 40_003])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_sizes_threads_and_broadcast_rows(size: int, kind: type) -> None:
    rng = np.random.default_rng(1)
    x, row, column = (rng.normal(size=shape).astype(kind) for shape in ((size, 5), (5,), (size, 1)))
    program = Program(
        3, (Instruction("Mul", (0, 1)), Instruction("Add", (3, 2)), Instruction("Sqrt", (4,))), (5, 3)
    )
    once = fused(program, [x, row, column])
    for made, due in zip(once, program.run([x, row, column]), strict=True):
        np.testing.assert_array_equal(made, due)
    for made, due in zip(fused(program, [x, row, column], threads=3), once, strict=True):
        np.testing.assert_array_equal(made, due)


@pytest.mark.parametrize("name", sorted(ROUNDED - {"Pow"}))
@pytest.mark.parametrize(("kind", "units"), [(np.float32, 4), (np.float64, 4)])
def test_transcendental_functions(name: str, kind: type, units: int) -> None:
    info = np.finfo(kind)
    x = np.concatenate(
        [np.linspace(-120, 120, 20_001), np.linspace(-1, 1, 20_001), np.geomspace(1e-37, 1e37, 5_000),
         [0.0, -0.0, np.inf, -np.inf, np.nan, info.smallest_subnormal * 5]]
    ).astype(kind)  # fmt: skip
    program = Program(1, (Instruction(name, (0,)),), (1,))
    (made,) = fused(program, [x])
    (due,) = program.run([x.astype(np.float64 if kind == np.float32 else np.longdouble)])
    with np.errstate(over="ignore"):
        due = due.astype(kind)
    whole = np.isfinite(due) & np.isfinite(made)
    np.testing.assert_array_equal(made[~whole], due[~whole])
    error = np.abs(made[whole].astype(np.longdouble) - due[whole])
    assert np.max(error / np.maximum(np.spacing(np.abs(due[whole])), info.tiny)) <= units


def test_shapes_that_do_not_fit_and_foreign_programs_end_in_an_error() -> None:
    x, y = np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32)
    add = Program(2, (Instruction("Add", (0, 1)),), (2,))
    with pytest.raises(Exception, match="shapes do not fit"):
        fused(add, [x, y])
    for code in ([99, 0, 0, 0, 0], [0, 7, 0, 0, 0], [0, -1, 0, 0, 0], [0, 0, 0, 0, 99], [0, 0]):
        with pytest.raises(Exception, match="fused operator"):
            run_operator("Fused", [x], 1, {"given": 1, "program": code, "results": [1]})
    with pytest.raises(Exception, match="fused operator"):
        run_operator("Fused", [x], 1, {"given": 1, "program": [0, 0, 0, 0, 0], "results": [2]})
    with pytest.raises(Exception, match="other inputs"):
        run_operator("Fused", [x, y], 1, {"given": 1, "program": [0, 0, 0, 0, 0], "results": [1]})


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [1, 5, 3000, 50_000])
def test_outputs_may_lie_where_inputs_do(size: int, threads: int) -> None:
    """As optimizers' weights and slots do: what is read later is not written over before."""
    steps = [("Add", 0, 2), ("Mul", 0, 1), ("Sub", 4, 0), ("Mul", 3, 1), ("Neg", 5)]
    program = Program(
        3,
        tuple(Instruction(name, operands) for name, *rest in steps for operands in [tuple(rest)]),
        (3, 5, 7),
    )
    rng = np.random.default_rng(size)
    x, y, one = rng.normal(size=size), rng.normal(size=size), np.array(2.0)
    due = program.run([x, y, one])
    spare = np.empty(size)
    run_in_place(program, [x, y, one], [x, y, spare], threads)
    for made, wanted in zip([x, y, spare], due, strict=True):
        np.testing.assert_array_equal(made, wanted)
