"""CUDA sources of programs of the operator `Fused`, for arrays of given shapes."""

from __future__ import annotations

from collections.abc import Sequence

from vflc_kernels.programs import MEANINGS, WIDTH, Instruction, Program

THREADS, EACH = 256, 4
"""Threads of a block, and elements of a thread."""
FLOATS = {
    "Neg": "-x",
    "Abs": "fabs(x)",
    "Sqrt": "sqrt(x)",
    "Reciprocal": "(T)1 / x",
    "Relu": "x < (T)0 ? (T)0 : x",
    "Exp": "exp(x)",
    "Log": "log(x)",
    "Sigmoid": "(T)1 / ((T)1 + exp(-x))",
    "Tanh": "tanh(x)",
    "Cast": "x",
    "Add": "x + y",
    "Sub": "x - y",
    "Mul": "x * y",
    "Div": "x / y",
    "Pow": "pow(x, y)",
    "Max": "x > y || x != x ? x : y",
    "Min": "x < y || x != x ? x : y",
    "Greater": "(T)(x > y)",
    "GreaterOrEqual": "(T)(x >= y)",
    "Less": "(T)(x < y)",
    "LessOrEqual": "(T)(x <= y)",
    "Equal": "(T)(x == y)",
    "Where": "x != (T)0 ? y : z",
    "HardSigmoid": "clip(x * y + z)",
    "MulAdd": "x * y + z",
    "MulSub": "x * y - z",
    "SubMul": "z - x * y",
}
"""What instructions mean in CUDA, of operands x, y and z; each rounds as the extension's do."""
HEAD = """typedef {type} T;
static __device__ T clip(T x) {{ return x < (T)0 ? (T)0 : x > (T)1 ? (T)1 : x; }}
"""


def read_program(given: int, code: Sequence[int], results: Sequence[int]) -> Program:
    """A program as the attributes of its node have it."""
    names = [*MEANINGS]
    steps = [code[start : start + WIDTH] for start in range(0, len(code), WIDTH)]
    made = (Instruction(names[s[0]], tuple(s[1 : 1 + MEANINGS[names[s[0]]][0]])) for s in steps)
    return Program(given, tuple(made), tuple(results))


def source(
    name: str,
    program: Program,
    shapes: Sequence[Sequence[int]],
    whole: Sequence[int],
    outputs: Sequence[int],
) -> tuple[str, list[int]]:
    """A kernel that takes inputs and then outputs, one pass over all elements, and which inputs it takes.

    Args:
        name: its own.
        program: what is computed.
        shapes: of the inputs, which broadcast to `whole`.
        whole: the shape of these outputs.
        outputs: numbers of the values that they are.
    """
    count = 1
    for size in whole:
        count *= size
    needed, order = {*outputs}, program.inputs + len(program.instructions)
    for value in range(order - 1, program.inputs - 1, -1):
        if value in needed:
            needed.update(program.instructions[value - program.inputs].operands)
    read = [value for value in range(program.inputs) if value in needed]
    loads = [f"w{value}[part] = in{value}[{_place(shapes[value], whole)}];" for value in read]
    lines = [f"const T v{value} = w{value}[part];" for value in read]
    for value in range(program.inputs, order):
        if value in needed:
            each = program.instructions[value - program.inputs]
            names = ", ".join(f"{n} = v{operand}" for n, operand in zip("xyz", each.operands, strict=False))
            lines.append(f"T v{value}; {{ const T {names}; v{value} = {FLOATS[each.name]}; }}")
    lines += [f"out{index}[i] = v{value};" for index, value in enumerate(outputs)]
    given = [f"const T* in{value}" for value in read] + [f"T* out{index}" for index in range(len(outputs))]
    index = "unsigned" if count < 1 << 31 else "unsigned long long"
    own = f"const {index} i = start + part * {THREADS}; if (i >= {count}) break;"
    loop = f"#pragma unroll\n  for (int part = 0; part < {EACH}; ++part) {{ {own}\n    "
    memory = ", ".join(f"w{value}[{EACH}]" for value in read)
    # all is read before anything is written: outputs may lie where inputs do, and reading need not wait
    text = (
        f'extern "C" __global__ void {name}({", ".join(given)}) {{\n'
        f"  const {index} start = ({index})blockIdx.x * {THREADS * EACH} + threadIdx.x;\n  T {memory};\n"
        f"  {loop}" + "\n    ".join(loads) + "\n  }\n"
        f"  {loop}" + "\n    ".join(lines) + "\n  }\n}\n"
    )
    return text, read


def head(double: bool) -> str:
    """What comes before kernels, of float64 or of float32."""
    return HEAD.format(type="double" if double else "float")


def blocks(whole: Sequence[int]) -> int:
    """How many blocks a kernel for outputs of that shape has."""
    count = 1
    for size in whole:
        count *= size
    return max(1, -(-count // (THREADS * EACH)))


def _place(shape: Sequence[int], whole: Sequence[int]) -> str:
    """Which element of an array is read for element i of the whole that it is broadcast to."""
    padded = [1] * (len(whole) - len(shape)) + [*shape]
    if padded == [*whole]:
        return "i"
    terms, inner, stride = [], 1, 1
    for own, size in zip(reversed(padded), reversed(whole), strict=True):
        if own != 1:
            at = f"i / {inner}u % {size}u" if inner > 1 else f"i % {size}u"
            terms.append(f"({at}) * {stride}u" if stride > 1 else f"({at})")
        inner *= size
        stride *= own
    return " + ".join(terms) or "0"
