"""What an op is, and the two tables that hold them all.

A primitive `Op` is a node of the graph: how its type follows from its inputs', its gradient,
and its lowering to each backend. A `Function` is what users write: it checks its arguments
and adds primitives through a `Build`. Both are registered by the last lines of their file;
other packages add theirs as entry points `vflc.functions`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from msgspec import Struct, field
from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.types import TensorType
from vflc.ops.parts import WHOLE, Parts
from vflc.ops.traits import FREE, SIGN, RangeRule, Slope, Slopes, factor

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node
    from vflc.ops.summands import Summands

Attrs = Mapping[str, Any]
Options = Mapping[str, Any]
"""What a spec gives to an optimizer, a schedule or a mechanism, by name, with the defaults of the others."""


class OpError(Exception):
    """A user's mistake in an op's arguments; lowering adds the place in the text.

    Args:
        message: what is wrong, with the shapes at hand.
        help: what to do next.
        code: the diagnostic's code; VFL0201 (shapes do not fit) where none is given.
    """

    def __init__(self, message: str, help: str | None = None, code: str = "VFL0201") -> None:
        super().__init__(message)
        self.message, self.help, self.code = message, help, code


class OnnxWriter(Protocol):
    """What an ONNX lowering may use: it adds nodes to the graph under construction."""

    double: bool
    """True in float64 plans, where onnxruntime lacks kernels for some operators."""

    def __call__(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Adds an ONNX node of the default domain and returns its (only) output's name."""
        ...

    def constant(self, value: Any, dtype: str = "float") -> str:
        """A constant of `float` (the plan's precision), `int` (int32), `int64` or `bool`."""
        ...

    def ones(self, like: str) -> str:
        """As many ones as the batch has rows; `like` is a batched value. Made once a graph."""
        ...

    def float_type(self) -> int:
        """The TensorProto element type of `float` in this plan, for `Cast`."""
        ...


class KerasOps(Protocol):
    """What a Keras lowering may use."""

    ops: Any
    """The module `keras.ops`."""
    float_dtype: str
    """`float32` or `float64`."""


class KerasLayer(Struct, frozen=True):
    """How an op whose weights nothing else reads becomes a standard layer of Keras.

    Args:
        weights: positions of the inputs that are weights, in the order of the layer's own.
        make: from (node, types of the inputs, the layer's name, dtype) to the layer; it starts at zero.
        call: from (k, layer, node, inputs, types) to the output; inputs that are weights are None.
        starts: what Keras calls the first of the weights: `kernel`, `embeddings`.
    """

    weights: Callable[[Node], tuple[int, ...]]
    make: Callable[[Node, Sequence[TensorType], str, str], Any]
    call: Callable[[KerasOps, Any, Node, Sequence[Any], Sequence[TensorType]], Any]
    starts: str


class OpSample(Struct, frozen=True):
    """One application of an op that every test over the registry makes.

    `inputs` are types or, where values must be of a certain kind, arrays with the type;
    `batch` sizes stand for the unknown axis.
    """

    types: tuple[TensorType, ...]
    attrs: Attrs = field(default_factory=dict)
    values: Callable[[np.random.Generator], tuple[Array, ...]] | None = None


class UserAxis(Protocol):
    """What a rule for many users at once may use: every value has a leading axis of users.

    Users have batches of different sizes, which are filled up.
    """

    def op(self, op: str, *inputs: Node, **attrs: Any) -> Node:
        """Adds a node."""
        ...

    def inputs(self, node: Node) -> tuple[Node, ...]:
        """The inputs of a node for one user."""
        ...

    def made(self, node: Node) -> Node:
        """What a node for one user is for many."""
        ...

    def level(self, node: Node, rank: int) -> Node:
        """The same with axes of size 1 after the users, as if its rank for one user were `rank`."""
        ...

    def same_for_all(self, node: Node) -> bool:
        """Whether it has no axis of users: constants, and what is made of them."""
        ...

    def constant(self, value: float) -> Node:
        """A number."""
        ...

    def masked(self, value: Node) -> Node:
        """The value with 0 for what fills a batch up."""
        ...

    def rows(self) -> Node:
        """How many examples each user has, at least 1: [user]."""
        ...


UsersRule = Callable[[UserAxis, "Node"], "Node"]
"""Makes for many users at once what a node is for one."""


def _never(attrs: Attrs) -> bool:
    return False


def _no_axes(attrs: Attrs) -> Sequence[int]:
    return ()


class Op(Struct, frozen=True):
    """A primitive.

    Args:
        name: as in the graph.
        doc: one sentence, for the reference and for hovering.
        infer: type of the output from types of the inputs and the static arguments.
        onnx: adds its ONNX nodes, returns the output's name.
        keras: the same with `keras.ops`, on eager or symbolic tensors.
        reference: the same in numpy: the definition that the other two are tested against.
        vjp: from (build, node, inputs, gradient of the output) to a gradient an input; None in
            an input's place where no gradient flows. No `vjp`: no gradient at all.
        samples: applications for the tests over the registry.
        keras_layer: the layer of Keras that can hold its weights, where there is one.
        slopes: how the derivative with respect to each input varies from row to row.
        bounds: in which range the output lies, given those of the inputs.
        elementwise: whether an element of the output is made of the elements of the inputs at its place,
            to which inputs broadcast.
        axes: static arguments that count axes.
        leading: static arguments with an entry for each axis, with the entry of one that is put first.
        users: how it runs for many users at once, where that does not follow from the three before.
        differs: in what alone the output differs from the first input: the names of axes, the `shape` (the
            elements are in the same order), or the element `type`.
        places: whether every element of an input stands once in the output: `joined` with those of other
            inputs along an axis, `stacked` with them along a new one, or `padded` with zeros.
        parts: how it follows from pieces of the first input.
        summands: where it is a sum over the batch: from (build, node, inputs) to what each row adds.
        by_id: what it does with a table and ids. It `reads` (table, ids) the row that each id names, `sums`
            (ids, values) up what goes to each row, or gives the `distinct` ids of all inputs, without -1.
        reads_codes: whether the last input is an id or a truth value whose 0s and 1s it is linear in.
        zero_for_none: whether -1 for an id gives zeros, given the static arguments.
        keeps_zero: whether it is 0 wherever an input is, if not cut along the axis in question.
        jumps: whether the value jumps: where two inputs meet, or one is 0.
        hides_sign: whether its gradient asks the output for the sign of the input, which 0 does not show.
        holds: of a comparison: whether it holds of two numbers.
        signs: where the output is the sum of the inputs, the sign of each: 1 or -1.
        shape_only: of how many of the last inputs the shape alone is read.
        tells_sizes: of which axes the sizes can be told from the value itself, given the static arguments.
        broadcasts: whether the output is the first input in another shape to which it broadcasts, given the
            static arguments.
        uncopied: whether an input that was copied out to the shape of the others is better read as it was.
        serial: whether its kernel must, or had better, run in one thread.
        mixes_rows: whether a row of the output may depend on any row of the inputs.
        openly: whether a spec that has it asks that what it reads crosses to it as it is; what is learned of
            that must still be granted.
        of_batch: whether it is made of the rows that happen to be in a batch, so that it says nothing outside
            of training.
    """

    name: str
    doc: str
    infer: Callable[[Sequence[TensorType], Attrs], TensorType]
    onnx: Callable[[OnnxWriter, Node, Sequence[str], Sequence[TensorType]], str]
    keras: Callable[[KerasOps, Node, Sequence[Any], Sequence[TensorType]], Any]
    reference: Callable[[Node, Sequence[Array], Sequence[TensorType]], Array]
    vjp: Callable[[Build, Node, Sequence[Node], Node], tuple[Node | None, ...]] | None = None
    samples: tuple[OpSample, ...] = ()
    keras_layer: KerasLayer | None = None
    slopes: Slopes = SIGN
    bounds: RangeRule = FREE
    elementwise: bool = False
    axes: tuple[str, ...] = ()
    leading: Mapping[str, Any] = field(default_factory=dict)
    users: UsersRule | None = None
    differs: Literal["names", "shape", "type"] | None = None
    places: Literal["joined", "stacked", "padded"] | None = None
    parts: Parts = WHOLE
    summands: Callable[[Build, Node, Sequence[Node]], Summands] | None = None
    by_id: Literal["reads", "sums", "distinct"] | None = None
    reads_codes: bool = False
    zero_for_none: Callable[[Attrs], bool] = _never
    keeps_zero: bool = False
    jumps: bool = False
    hides_sign: bool = False
    holds: Callable[[float, float], bool] | None = None
    signs: tuple[int, ...] = ()
    shape_only: int = 0
    tells_sizes: Callable[[Attrs], Sequence[int]] = _no_axes
    broadcasts: Callable[[Attrs], bool] = _never
    uncopied: bool = False
    serial: bool = False
    mixes_rows: bool = False
    openly: bool = False
    of_batch: bool = False

    def linear_in(self, position: int, inputs: int) -> bool:
        """Whether the output is a linear function of one of so many inputs, whatever the others are."""
        slope, others = self.slope(position), {self.slope(i).kind for i in range(inputs) if i != position}
        if slope.kind == "factor":
            return slope.by != position and "copy" not in others
        allowed = {"copy": {"none"}, "mix": {"mix", "none"}}.get(slope.kind)
        return allowed is not None and others <= allowed

    @property
    def multiplies(self) -> bool:
        """Whether the output is the product of two inputs, elementwise."""
        return self.slopes == (factor(1), factor(0))

    @property
    def joins(self) -> bool:
        """Whether the output is the inputs side by side."""
        return self.places in ("joined", "stacked")

    @property
    def adds(self) -> bool:
        """Whether the output is the sum of the inputs."""
        return bool(self.signs) and min(self.signs) > 0

    def one_axis_on(self, attrs: Attrs) -> dict[str, Any]:
        """The static arguments for inputs with one more axis before the others."""
        moved = dict(attrs)
        for name in self.axes:
            value = attrs[name]
            moved[name] = value + 1 if isinstance(value, int) else tuple(axis + 1 for axis in value)
        return moved | {name: (entry, *moved[name]) for name, entry in self.leading.items()}

    def slope(self, position: int) -> Slope:
        """The derivative with respect to the input at `position`."""
        return self.slopes[position] if isinstance(self.slopes, tuple) else self.slopes


REQUIRED: Any = inspect.Parameter.empty


class FunctionParameter(Struct, frozen=True):
    """A function's argument. `kind` is the annotation's name:

    `Node` (numbers become constants), `Nodes` (one or a list of them), `WeightNodes` (weights and lists
    of them), `float`, `int`, `bool`, `str`, `Ints`, `AxisName` (a bare name, not looked up: an axis
    or one of a function's options). `… | None` takes `none` too.
    """

    name: str
    kind: str
    default: Any
    variadic: bool = False


class Function(Struct, frozen=True, dict=True):
    """What users call, `dense(x, 32)`: with the docstring of `expand(build, …)`, and its other parameters."""

    name: str
    expand: Callable[..., Node]

    @cached_property
    def doc(self) -> str:
        return inspect.cleandoc(self.expand.__doc__ or "")

    @cached_property
    def parameters(self) -> tuple[FunctionParameter, ...]:
        return tuple(
            FunctionParameter(p.name, _kind(p.annotation), p.default, p.kind is p.VAR_POSITIONAL)
            for p in list(inspect.signature(self.expand).parameters.values())[1:]
        )


OPS: dict[str, Op] = {}
FUNCTIONS: dict[str, Function] = {}


def register(op: Op) -> Op:
    """Adds a primitive; a second one of the same name is a defect."""
    if op.name in OPS:
        raise ValueError(f"op {op.name!r} is registered twice")
    OPS[op.name] = op
    return op


def _kind(annotation: Any) -> str:
    """An annotation as it is written, also where its module does not postpone evaluation."""
    written = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b\w+\.", "", written)


def function(expand: Callable[..., Node], name: str | None = None) -> Callable[..., Node]:
    """Registers `expand(build, …)` as a function of the language."""
    key = (name or expand.__name__).rstrip("_")
    if key in FUNCTIONS:
        raise ValueError(f"function {key!r} is registered twice")
    if not isinstance(expand, FunctionType):
        inspect.signature(expand)  # what has none cannot be called
    FUNCTIONS[key] = Function(key, expand)
    return expand
