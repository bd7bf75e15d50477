"""Several labels at once: `bce(logits, bob.L{1..5})` is a term for each, `predict L{1..5}` a prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from vflc.ir.graph import Node
from vflc.ops import FUNCTIONS, OPS
from vflc.ops.loss import LOSSES
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.values import LazyValue, Poison, Scope, describe
from vflc.syntax import tree


def parts(ev: Evaluator, value: Any, count: int) -> list[Node] | None:
    """A value [count], or a list of as many, as single numbers [1]; None where it is neither.

    What works element by element is done to each part: so a prediction is computed from the logit that the
    loss reads.
    """
    if isinstance(value, list) and len(value) == count and all(isinstance(each, Node) for each in value):
        return value
    if not isinstance(value, Node) or not value.type.batched or value.type.sizes[1:] != (count,):
        return None
    return [_part(ev, value, i) for i in range(count)]


def _part(ev: Evaluator, value: Node, position: int) -> Node:
    with ev.build.within(place=value.place):
        if OPS[value.op].elementwise and len(value.inputs) == 1:
            source = ev.build.graph[value.inputs[0]]
            return ev.build.op(value.op, _part(ev, source, position), **value.attrs)
        return ev.build.op("slice", value, axis=1, start=position, stop=position + 1)


def spread(ev: Evaluator, expr: tree.Expr, scope: Scope) -> Iterator[tuple[tree.Expr, Scope, int]]:
    """A term of the objective for each label, with the scope to evaluate it in, and how many there are."""
    found = _compared(expr)
    if found is None:
        yield expr, scope, 1
        return
    call, before, label = found
    labels = ev.evaluate(label.value, scope)
    if isinstance(labels, Poison):
        return
    if not _are_labels(labels):
        yield expr, scope, 1
        return
    given: dict[int, list[Node]] = {}
    for position in before:
        argument = call.arguments[position]
        with ev.build.within(scope=("objective",)):
            value = ev.evaluate(argument.value, scope)
        if isinstance(value, Poison):
            return
        made = parts(ev, value, len(labels))
        if made is None:
            text = f"{len(labels)} labels need a value with one number for each; this is {describe(value)}"
            ev.error("VFL0223", text, argument.span, f"make as many: dense(x, {len(labels)})")
            return
        given[position] = made
    at = call.arguments.index(label)
    for i in range(len(labels)):
        inner = Scope(scope.path, scope)
        arguments = list(call.arguments)
        for position, value in ((at, labels[i]), *((p, nodes[i]) for p, nodes in given.items())):
            argument, name = arguments[position], f"argument {position}"  # a name that no spec can write
            inner.names[name] = LazyValue.known(name, argument.span, value)
            arguments[position] = replace(argument, value=tree.Ref(name, argument.value.span))
        yield replace(call, arguments=tuple(arguments)), inner, len(labels)


def _are_labels(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(v, Node) and v.op == "label" for v in value)
    )


def _compared(expr: tree.Expr) -> tuple[tree.Call, Sequence[int], tree.Argument] | None:
    """A call of a loss that is given a list for its label: what it compares, by position, and the label."""
    if not isinstance(expr, tree.Call) or not isinstance(expr.function, tree.Ref):
        return None
    function = FUNCTIONS.get(expr.function.name) if expr.function.name in LOSSES else None
    names = [parameter.name for parameter in function.parameters] if function is not None else []
    if "label" not in names:
        return None
    by_name = {a.name.text if a.name else names[i]: i for i, a in enumerate(expr.arguments) if i < len(names)}
    if "label" not in by_name:
        return None
    label = expr.arguments[by_name["label"]]
    if not isinstance(label.value, tree.Family | tree.ListOf | tree.Binary | tree.Ref):
        return None
    before = [by_name[name] for name in names[: names.index("label")] if name in by_name]
    return expr, before, label
