"""Programs of the operator `Fused`: what its instructions mean, in NumPy, and how they are written down.

The extension computes the same in one pass over memory, to the bit but for `Exp`, `Log`, `Sigmoid`, `Tanh`
and `Pow`, and these to some units in the last place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _flag(compare: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """A comparison whose answers are the numbers one and zero."""
    return lambda x, y: np.asarray(compare(x, y), x.dtype)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _where(x: Array, y: Array, z: Array) -> Array:
    return np.asarray(np.where(x != 0, y, z))


def _hard_sigmoid(x: Array, alpha: Array, beta: Array) -> Array:
    return np.asarray(np.clip(x * alpha + beta, 0, 1))


MEANINGS: dict[str, tuple[int, Callable[..., Array]]] = {
    "Neg": (1, np.negative),
    "Abs": (1, np.abs),
    "Sqrt": (1, np.sqrt),
    "Reciprocal": (1, np.reciprocal),
    "Relu": (1, lambda x: np.maximum(x, 0)),
    "Exp": (1, np.exp),
    "Log": (1, np.log),
    "Sigmoid": (1, _sigmoid),
    "Tanh": (1, np.tanh),
    "Cast": (1, lambda x: x),
    "Add": (2, np.add),
    "Sub": (2, np.subtract),
    "Mul": (2, np.multiply),
    "Div": (2, np.divide),
    "Pow": (2, np.power),
    "Max": (2, np.maximum),
    "Min": (2, np.minimum),
    "Greater": (2, _flag(np.greater)),
    "GreaterOrEqual": (2, _flag(np.greater_equal)),
    "Less": (2, _flag(np.less)),
    "LessOrEqual": (2, _flag(np.less_equal)),
    "Equal": (2, _flag(np.equal)),
    "Where": (3, _where),
    "HardSigmoid": (3, _hard_sigmoid),
    "MulAdd": (3, lambda x, y, z: x * y + z),
    "MulSub": (3, lambda x, y, z: x * y - z),
    "SubMul": (3, lambda x, y, z: z - x * y),
}
"""Of ONNX's operators and pairs of them, in the extension's order: how many operands, and their value."""
CODES = {name: code for code, name in enumerate(MEANINGS)}
PAIRS = {"Add": ("MulAdd", "MulAdd"), "Sub": ("MulSub", "SubMul")}
"""A sum whose first operand, or whose second, is a product."""
JOINED = {name for names in PAIRS.values() for name in names}
"""What is no operator of ONNX."""
WIDTH = 5
"""Numbers of an instruction as an attribute holds it."""


@dataclass(frozen=True)
class Instruction:
    """Operands below the number of inputs are inputs, others are results of instructions before this one."""

    name: str
    operands: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """Instructions on arrays that broadcast as in NumPy; `outputs` are numbered as operands are."""

    inputs: int
    instructions: tuple[Instruction, ...]
    outputs: tuple[int, ...]

    def run(self, given: Sequence[Array]) -> list[Array]:
        """What the outputs are for inputs [*] of one type, float32 or float64; in NumPy."""
        values = [*given]
        with np.errstate(all="ignore"):
            for each in self.instructions:
                values.append(MEANINGS[each.name][1](*(values[operand] for operand in each.operands)))
        return [np.array(values[output]) for output in self.outputs]

    def paired(self) -> Program:
        """The same, with products and the sums that alone read them as one instruction; both still round."""
        first, reads = self.inputs, Counter(self.outputs)
        reads.update(operand for each in self.instructions for operand in each.operands)
        factors = {
            first + index: each.operands
            for index, each in enumerate(self.instructions)
            if each.name == "Mul" and reads[first + index] == 1
        }
        joined = {
            index: product
            for index, each in enumerate(self.instructions)
            if each.name in PAIRS and (product := next((x for x in each.operands if x in factors), None))
        }
        gone, made, numbers = {*joined.values()}, list[Instruction](), {x: x for x in range(first)}
        for index, each in enumerate(self.instructions):
            if first + index in gone:
                continue
            if (product := joined.get(index)) is not None:
                at = each.operands.index(product)
                each = Instruction(PAIRS[each.name][at], (*factors[product], each.operands[1 - at]))
            made.append(Instruction(each.name, tuple(numbers[x] for x in each.operands)))
            numbers[first + index] = first + len(made) - 1
        return Program(first, tuple(made), tuple(numbers[x] for x in self.outputs))

    def attributes(self) -> dict[str, Any]:
        """Of the node that runs this."""
        code = []
        for each, register in zip(self.instructions, self._registers(), strict=True):
            padding = [0] * (WIDTH - 2 - len(each.operands))
            code += [CODES[each.name], *each.operands, *padding, register]
        return {"given": self.inputs, "program": code, "results": [*self.outputs]}

    def _registers(self) -> list[int]:
        """Where the result of each instruction lies; a register that nobody reads any more is used again."""
        last = {self.inputs + index: index for index in range(len(self.instructions))}
        for index, each in enumerate(self.instructions):
            last.update((operand, index) for operand in each.operands if operand >= self.inputs)
        last.update((output, len(self.instructions)) for output in self.outputs)
        free, used, registers = list[int](), 0, list[int]()
        for index, each in enumerate(self.instructions):
            done = {x for x in each.operands if x >= self.inputs and last[x] == index}
            free += [registers[x - self.inputs] for x in done]
            if not free:
                free.append(used)
                used += 1
            registers.append(free.pop())
            if last[self.inputs + index] == index:
                free.append(registers[-1])
        return registers
