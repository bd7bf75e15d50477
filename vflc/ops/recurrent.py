"""Recurrent layers over a sequence [time, features], step by step: each step is nodes of the graph.

So gradients, both engines, exports and disclosure hold for them as for all other ops. The inputs of all steps
are projected at once. Weights and their order are those of Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vflc.ir.build import Initializer
from vflc.ir.types import Axis
from vflc.ops.align import numeric
from vflc.ops.layers import layer, positive
from vflc.ops.registry import OpError, function
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

State = tuple["Node", ...]
"""What goes from step to step, [units] each; the first is what the layer gives."""
MOST_STEPS = 1000
"""Each step is some 50 operations with its gradient: longer ones would take minutes to compile."""


def gru(
    b: Build,
    x: Node,
    units: int,
    mask: Node | None = None,
    attention: Node | None = None,
    return_sequences: bool = False,
) -> Node:
    """A gated recurrent unit over a sequence [time, features]: its last state [units] (Cho et al. 2014).

    `return_sequences = true` gives the state after each step, [time, units]. Where the `mask` [time] is 0,
    the state stays as it was: `mask = present(bob.History)`. `attention` [time] scales how far each step
    updates the state (AUGRU, Zhou et al. 2019). As Keras's `GRU`, with the reset gate after the product.
    """
    x = _sequence(b, "gru", x)
    with b.within(scope=layer(b, "gru")):
        given, recurrent, bias = _weights(b, x, units, 3)
        of_input, of_state = (
            b.op("squeeze", b.op("slice", bias, axis=0, start=i, stop=i + 1), axis=0) for i in (0, 1)
        )
        projected = b.op("linear", x, given, of_input)
        gates, candidates = (_part(b, projected, *span) for span in ((0, 2 * units), (2 * units, 3 * units)))
        scores = None if attention is None else _each(b, attention, x, "attention")

        def step(t: int, state: State | None) -> State:
            shared = of_state if state is None else b.op("linear", state[0], recurrent, of_state)
            gate = b.op("sigmoid", b.op("add", _at(b, gates, t), _part(b, shared, 0, 2 * units)))
            keep, reset = _part(b, gate, 0, units), _part(b, gate, units, 2 * units)
            again = b.op("mul", reset, _part(b, shared, 2 * units, 3 * units))
            new = b.op("tanh", b.op("add", _at(b, candidates, t), again))
            share = b.op("sub", number(b, 1), keep)
            if scores is not None:
                share = b.op("mul", share, _at(b, scores, t))
            if state is None:
                return (b.op("mul", share, new),)
            return (b.op("add", state[0], b.op("mul", share, b.op("sub", new, state[0]))),)

        return _unrolled(b, step, x, mask, return_sequences)


def lstm(b: Build, x: Node, units: int, mask: Node | None = None, return_sequences: bool = False) -> Node:
    """A long short-term memory over a sequence [time, features]: its last output [units] (Hochreiter 1997).

    `return_sequences = true` gives the output after each step, [time, units]. Where the `mask` [time] is 0,
    output and memory stay as they were. As Keras's `LSTM`; the forget gate's bias starts at 1.
    """
    x = _sequence(b, "lstm", x)
    with b.within(scope=layer(b, "lstm")):
        given, recurrent, bias = _weights(b, x, units, 4)
        projected = b.op("linear", x, given, bias)

        def step(t: int, state: State | None) -> State:
            total = _at(b, projected, t)
            if state is not None:
                total = b.op("add", total, b.op("linear", state[0], recurrent))
            gate = b.op("sigmoid", _part(b, total, 0, 2 * units))
            new = b.op("tanh", _part(b, total, 2 * units, 3 * units))
            out = b.op("sigmoid", _part(b, total, 3 * units, 4 * units))
            memory = b.op("mul", _part(b, gate, 0, units), new)
            if state is not None:
                kept = b.op("mul", _part(b, gate, units, 2 * units), state[1])
                memory = b.op("add", kept, memory)
            return b.op("mul", out, b.op("tanh", memory)), memory

        return _unrolled(b, step, x, mask, return_sequences)


def _sequence(b: Build, name: str, x: Node) -> Node:
    """The value as numbers, of a length that is known."""
    x = numeric(b, x)
    if not x.type.batched or len(x.type.row_axes) != 2:
        raise OpError(
            f"{name} of {x.type}", f"give it a sequence [time, features]: `{name}(lookup(t, ids), 32)`"
        )
    if None in x.type.sizes[1:]:
        raise OpError(f"{name} of {x.type}", "fix the length: `-> sequence(max = 20)` after the encoders")
    steps = x.type.sizes[1] or 0
    if steps > MOST_STEPS:
        raise OpError(
            f"{name} over {steps} steps", f"at most {MOST_STEPS} are supported: shorten it with `conv1d`"
        )
    return x


def _weights(b: Build, x: Node, units: int, gates: int) -> tuple[Node, Node, Node]:
    """Kernel, recurrent kernel and bias; a GRU has two biases, of input and state."""
    width, every = Axis(None, gates * positive("`units`", units)), Axis(None, units)
    return (
        b.weight("kernel", (Axis(None, x.type.sizes[-1]), width), Initializer("glorot_uniform")),
        b.weight("recurrent_kernel", (every, width), Initializer("orthogonal")),
        b.weight("bias", (width,), Initializer("unit_forget"))
        if gates == 4
        else b.weight("bias", (Axis(None, 2), width), Initializer("zeros")),
    )


def _each(b: Build, value: Node, x: Node, what: str) -> Node:
    """A number for each step, [time, 1]."""
    value = numeric(b, value)
    if value.type.sizes == (*x.type.sizes[:2], 1):
        return value
    if value.type.sizes != x.type.sizes[:2]:
        raise OpError(
            f"{what} {value.type} for a sequence {x.type}", f"give {x.type.axes[1].size} numbers a row"
        )
    return b.op("unsqueeze", value, axis=2, name=None)


def _at(b: Build, x: Node, step: int) -> Node:
    return b.op("squeeze", b.op("slice", x, axis=1, start=step, stop=step + 1), axis=1)


def _part(b: Build, x: Node, start: int, stop: int) -> Node:
    return b.op("slice", x, axis=x.type.rank - 1, start=start, stop=stop)


def _unrolled(
    b: Build, step: Callable[[int, State | None], State], x: Node, mask: Node | None, every: bool
) -> Node:
    """All steps of a sequence, from a state of zeros; the last output, or those of all along its axis."""
    there = None if mask is None else b.op("greater", _each(b, mask, x, "mask"), number(b, 0))
    time, state = x.type.axes[1], None
    outputs = []
    for t in range(time.size or 0):
        new = step(t, state)
        if there is not None:
            before, now = state or (number(b, 0),) * len(new), _at(b, there, t)
            new = tuple(b.op("where", now, *pair) for pair in zip(new, before, strict=True))
        state = new
        outputs.append(new[0])
    return b.op("stack", *outputs, axis=1, name=time.name) if every else outputs[-1]


for _function in (gru, lstm):
    function(_function)
