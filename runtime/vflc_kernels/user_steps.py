"""All steps of a phase of many users as one operator: their graph and its optimizers as its program.

A step of one user is so little work that calling onnxruntime for it, node after node, takes many times as
long as what is computed. The program does it in memory that stays in the first cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from vflc_kernels import DOMAIN
from vflc_kernels.user_graph import Ids, Translator, Value
from vflc_kernels.user_program import NUMBER, Buffer, Code, Shape, Unable, View, Whole

if TYPE_CHECKING:
    import onnx

OPERATORS = {"float32": "UserSteps", "float64": "UserStepsDouble"}


@dataclass(frozen=True)
class Changed:
    """A weight of a phase and the value that is its gradient.

    Attributes:
        weight: an array.
        gradients: one value; of a table rows, in several values where it is read by several ids.
        ids: of all these rows, one after the other; None where the weight is no table.
        slots: what its optimizer keeps: names in its graph, and arrays.
    """

    weight: str
    gradients: tuple[str, ...]
    ids: str | None
    slots: Mapping[str, str]


@dataclass(frozen=True)
class Given:
    """What a program reads, and of which shape for one user.

    Attributes:
        feeds: numbers by name, [1, …].
        ids: of rows by name, [1, …].
        arrays: weights and slots by name: [1, …], of tables the width.
        tables: which of `arrays` are tables.
    """

    feeds: Mapping[str, Shape]
    ids: Mapping[str, Shape]
    arrays: Mapping[str, Shape]
    tables: frozenset[str]


@dataclass(frozen=True)
class UserSteps:
    """A node, the constants that it reads, and the shapes of its results for one user's step."""

    node: onnx.NodeProto
    constants: Whole
    shapes: list[Shape]


def user_steps(
    phase: onnx.GraphProto,
    optimizer: onnx.GraphProto,
    given: Given,
    changed: Sequence[Changed],
    results: Sequence[str],
    precision: str,
) -> UserSteps:
    """The node that runs a phase.

    Its inputs are `steps`, `batches`, `starts`, `constants`, then feeds, ids and arrays as in `given`. Its
    outputs are `new.ARRAY` of each weight and slot that changes, and `results`.

    Raises:
        Unable: the graph has what no program can do.
    """
    from onnx import AttributeProto, helper

    if not given.feeds and not given.ids:
        raise Unable  # only what is fed says how many batches there are
    code = Code(precision, len(given.feeds))
    values: dict[str, Value] = {}
    for number, (name, shape) in enumerate(given.feeds.items()):
        values[name] = View.of(Buffer("feed", number), shape)
    for number, (name, shape) in enumerate(given.ids.items()):
        values[name] = Ids(number, shape)
    arrays = {name: number for number, name in enumerate(given.arrays)}
    for name, number in arrays.items():
        if name not in given.tables:
            values[name] = View.of(Buffer("array", number), given.arrays[name])
    tables = {name: (arrays[name], given.arrays[name][-1]) for name in given.tables}
    made = Translator(code, phase, values, tables).run(
        [*results, *(name for each in changed for name in each.gradients)]
    )
    for number, name in enumerate(results):
        code.give(number, made.view(name))
    order, puts = [], list[Any]()
    readers = Counter(made.view(name).buffer for each in changed for name in each.gradients)
    for each in changed:
        order += [each.weight, *each.slots.values()]
        puts += _update(code, made, optimizer, each, arrays, tables, values, readers)
    for put in puts:
        code.put(*put)
    outputs = [*(f"new.{name}" for name in order), *results]
    inputs = ["steps", "batches", "starts", "constants", *given.feeds, *given.ids, *given.arrays]
    node = helper.make_node(OPERATORS[precision], inputs, outputs, domain=DOMAIN)
    numbers = {
        **code.attributes(),
        "feeds": [prod(shape) for shape in given.feeds.values()],
        "ids": [prod(shape) for shape in given.ids.values()],
        "widths": [prod(shape) for shape in given.arrays.values()],
        "tables": [int(name in given.tables) for name in given.arrays],
        "changed": [arrays[name] for name in order],
        "results": [prod(made.view(name).shape) for name in results],
    }
    node.attribute.extend(
        helper.make_attribute(
            name, value, attr_type=AttributeProto.INT if isinstance(value, int) else AttributeProto.INTS
        )
        for name, value in numbers.items()
    )
    return UserSteps(node, code.constants(), [made.view(name).shape[1:] for name in results])


def _update(
    code: Code,
    made: Translator,
    optimizer: onnx.GraphProto,
    of: Changed,
    arrays: Mapping[str, int],
    tables: Mapping[str, tuple[int, int]],
    given: Mapping[str, Value],
    readers: Mapping[Buffer, int],
) -> list[tuple[int, Ids | None, int, View]]:
    """Adds what an optimizer does to a weight; the arrays that change, by which rows, how wide, to what.

    `readers` says how many gradients lie in a buffer: rows are added up in it only if it is of one.
    """
    ids = None if of.ids is None else given[of.ids]
    gradients = [made.view(name) for name in of.gradients]
    names = {"weight": of.weight, **of.slots}
    inner: dict[str, Value] = {"step": View.of(Buffer("number", NUMBER), ())}
    if isinstance(ids, Ids):
        if of.weight not in tables:
            raise Unable
        width, count = tables[of.weight][1], prod(ids.shape)
        if (
            len(gradients) == 1
            and readers[gradients[0].buffer] == 1
            and code.own(gradients[0]) is gradients[0]
            and not code.read(gradients[0].buffer)
        ):
            flat = _flat(code, gradients[0], width)
        else:
            flat = code.joined([_flat(code, each, width) for each in gradients], 0)
        if flat.shape[0] != count:
            raise Unable
        code.merge(ids.number, count, width, flat)
        inner["gradient"] = flat.reshaped((count * width,))
        for name, array in names.items():
            rows = code.rows(arrays[array], ids.number, count, width)
            inner[name] = rows.reshaped((count * width,))
    else:
        (gradient,) = gradients
        width = prod(gradient.shape)
        inner["gradient"] = _flat(code, gradient, 1).reshaped((width,))
        for name, array in names.items():
            value = given.get(array)
            if not isinstance(value, View):
                raise Unable
            inner[name] = value.reshaped((width,))
    done = Translator(code, optimizer, inner, {}).run([f"new.{name}" for name in names])
    return [
        (arrays[array], ids if isinstance(ids, Ids) else None, width, code.own(done.view(f"new.{name}")))
        for name, array in names.items()
    ]


def _flat(code: Code, view: View, width: int) -> View:
    """As rows of a width."""
    plain = view if view.plain else code.copy(view)
    return plain.reshaped((prod(view.shape) // width, width))
