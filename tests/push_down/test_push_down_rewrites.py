"""Each rewrite by itself: the graph before and after side by side, and that value and gradients stay."""

from __future__ import annotations

from collections import Counter, defaultdict
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ops.op_testing import evaluate
from push_down.one_table import one_table
from snapshot import same_as

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.ir.graph import Graph, Node
from vflc.ir.stages import Lowered
from vflc.ops import OPS
from vflc.ops.parts import WHOLE
from vflc.passes.differentiate import differentiated
from vflc.passes.lower import lower
from vflc.passes.modes import Modes
from vflc.passes.place import Placement
from vflc.passes.prune import Prune
from vflc.passes.push_down.choose import attempt, choose
from vflc.syntax.parser import parse

FIXTURES = Path(__file__).parent / "fixtures"
SIDES = "a = dense(alice.x0, 2)\nb = dense(bob.x0, 2)\n"
NAMED = "a = rename(dense(alice.x0, 2), k, to = k)\nb = rename(dense(bob.x0, 2), k, to = k)\n"
MODELS = {
    "concat": f"{SIDES}c = dense(alice.x1, 3)\nlogit = sum(concat(c, a, b))",
    "stack": f"{SIDES}s = stack([a, b], axis = side)\nlogit = sum(sum(s, axis = side))",
    "elementwise": f"{SIDES}logit = sum(tanh(concat(a, b)))",
    "elementwise_two": f"{SIDES}x = concat(a, b)\nlogit = sum(square(x) * x)",
    "elementwise_weight": f"{SIDES}logit = sum(concat(a, b) * weight(4))",
    "elementwise_constant": f"{SIDES}logit = sum(2 * concat(a, b))",
    "linear": f"{SIDES}logit = dense(concat(a, b), 1)",
    "linear_each": f"{SIDES}logit = sum(dense(stack([a, b], axis = side), 1))",
    "matmul": f"{SIDES}logit = concat(a, b) @ weight(4, 1)",
    "sum": f"{SIDES}logit = sum(concat(a, b))",
    "sum_each": f"{NAMED}logit = sum(tanh(sum(stack([a, b], axis = side), axis = k)))",
    "mean": f"{SIDES}c = dense(alice.x1, 3)\nlogit = mean(concat(a, b, c))",
    "max": f"{SIDES}logit = max(concat(a, b))",
    "softmax": f"{SIDES}logit = sum(softmax(concat(a, b)) * weight(4))",
    "reshape": f"{SIDES}logit = dense(flatten(stack([a, b], axis = side)), 1)",
    "rename": f"{SIDES}s = rename(stack([a, b], axis = side), side, to = party)\nlogit = sum(tanh(s))",
    "slice": f"{SIDES}s = stack([a, b, 2 * a], axis = side)\nlogit = sum(tanh(slice(s, side, 1, 3)))",
    "slice_of_one": f"{SIDES}s = stack([a, b], axis = side)\nlogit = sum(slice(s, side, 1, 2)) + sum(s)",
    "transpose": (
        f"{NAMED}g = rename(dense(bob.x1, 2), side, to = side)\n"
        "logit = sum(stack([g, 2 * g], axis = k) * stack([a, b], axis = side))"
    ),
    "windows": (
        "a = reshape(dense(alice.x0, 4), 4, 1)\nb = reshape(dense(bob.x0, 4), 4, 1)\n"
        "logit = sum(tanh(max_pool1d(concat(a, b))))"
    ),
    "squeeze": f"{SIDES}logit = sum(tanh(stack([a, b], axis = side) @ weight(2)))",
    "unsqueeze": f"{SIDES}g = softmax(dense(bob.x1, 2))\nlogit = sum(stack([a, b], axis = side) + g)",
    "add": f"{SIDES}logit = dense(a + b + dense(alice.x1, 2), 1)",
    "sub": f"{SIDES}logit = dense(a - b - dense(alice.x1, 2), 1)",
    "scale": f"{SIDES}logit = dense((a + b + 2 * a) / 3, 1)",
    "each_term": f"{SIDES}logit = sum(a + b + 2 * a)",
}
"""By the name of the fixture. A model of its own shows what a rewrite does."""


def model_of(text: str) -> Lowered:
    """As `PushDown` gets it."""
    source, collector = SourceText("one.vfl", text), DiagnosticCollector()
    lowered = lower(parse(source, collector), "one", None, collector)
    collector.refuse_errors()
    assert lowered is not None
    return Prune()(lowered, collector)


@cache
def both(name: str) -> tuple[Lowered, Lowered]:
    """The model before and after all rewrites, whatever they save."""
    before = model_of(one_table(MODELS[name], ids=0, numbers=2))
    return before, attempt(before, choose(before).joined, frozenset()).model


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_before_and_after_is_as_shown(name: str) -> None:
    before, after = both(name)
    same_as(FIXTURES / f"{name}.txt", f"{MODELS[name]}\n\n{side_by_side(before.graph, after.graph)}")


def test_every_rewrite_has_an_example() -> None:
    """An op that a rewrite is for is another one afterwards, or there once for each party."""
    meant = {
        name
        for name, op in OPS.items()
        if op.parts != WHOLE or op.joins or op.signs or op.differs == "shape"
        if "log" not in name and name != "pad"  # of a whole logit, and for gradients
    } | {"mul", "div"}
    changed = set()
    for name in MODELS:
        before, after = (Counter(node.op for node in model.graph) for model in both(name))
        changed |= {op for op in meant if before[op] and before[op] != after[op]}
    assert changed == meant


def side_by_side(before: Graph, after: Graph) -> str:
    """What one of two graphs has, and what that reads."""
    left, right = (shown(graph, other) for graph, other in ((before, after), (after, before)))
    width = max(map(len, left))
    rows = []
    for kind, i, j, k, last in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        mark = " " if kind == "equal" else "|"
        ours, theirs = left[i:j], right[k:last]
        for index in range(max(len(ours), len(theirs))):
            row = [each[index] if index < len(each) else "" for each in (ours, theirs)]
            rows.append(f"{row[0]:{width}} {mark} {row[1]}".rstrip())
    return "\n".join(rows) + "\n"


def shown(graph: Graph, other: Graph) -> list[str]:
    lines = {node.id: line(node) for node in graph}
    others = {line(node) for node in other}
    new = [node for node in graph if lines[node.id] not in others]
    near = {name for node in new for name in node.inputs} | {node.id for node in new}
    return [lines[node.id] for node in graph if node.id in near]


SHOWN = ("axis", "axes", "perm", "sizes", "start", "stop", "value")


def line(node: Node) -> str:
    attrs = {
        k: v
        for k, v in node.attrs.items()
        if k in ("axis", "axes", "start", "stop", "sizes", "value", "perm")
    }
    arguments = [*node.inputs, *(f"{key} = {value}" for key, value in attrs.items())]
    return f"{node.id} = {node.op}({', '.join(arguments)}) {node.type}"


@pytest.mark.parametrize("name", MODELS)
def test_values_and_gradients_stay(name: str) -> None:
    before, after = both(name)
    assert len(after.graph) != len(before.graph) or shown(before.graph, after.graph)
    expected, slopes = computed(before)
    found, ours = computed(after)
    for each in expected.keys() & found.keys():
        np.testing.assert_allclose(found[each], expected[each], rtol=0, atol=1e-9, err_msg=each)
    assert ours.keys() == slopes.keys()
    for weight in slopes:
        np.testing.assert_allclose(ours[weight], slopes[weight], rtol=0, atol=1e-9, err_msg=weight)


def computed(model: Lowered) -> tuple[dict[str, Any], dict[str, Any]]:
    """All forward values, and the gradients of whole weights by their names."""
    trained = Modes()(Placement(unsplit=True)(model, DiagnosticCollector()), DiagnosticCollector())
    graph, gradients = differentiated(trained.graph, trained.losses)
    forward = [node.id for node in trained.graph]
    backward = [gradient.dense for gradient in gradients]
    assert None not in backward
    results = evaluate(graph, feeds(graph), [*forward, *(name for name in backward if name)])
    slopes: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    for gradient, value in zip(gradients, results[len(forward) :], strict=True):
        part = graph[gradient.weight].attrs.get("slice")
        slopes[part.of if part else gradient.weight].append((part.start if part else 0, value))
    joined = {
        name: np.concatenate([value for _, value in sorted(parts, key=lambda part: part[0])])
        for name, parts in slopes.items()
    }
    return dict(zip(forward, results, strict=False)), joined


def feeds(graph: Graph) -> dict[str, Any]:
    """Random features, labels and weights; a slice has the rows of the whole."""
    found = {}
    for node in graph:
        part = node.attrs.get("slice")
        rng = np.random.default_rng([*(part.of if part else node.id).encode()])
        if node.op == "label":
            found[node.id] = (rng.random((7, 1)) < 0.5) * 1.0
        elif node.op == "feature":
            found[node.id] = rng.normal(size=(7, 1))
        elif part:
            rows, *others = node.type.sizes
            found[node.id] = rng.normal(size=(part.rows, *others))[part.start : part.start + rows]
        elif node.op == "weight":
            found[node.id] = rng.normal(size=node.type.sizes)
    return found
