"""What values depend on, rule by rule: graphs of a few nodes whose flows can be written down."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from vflc.diagnostics import SourceText as Text
from vflc.diagnostics import Span
from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node, SecretSource
from vflc.ir.model import ColumnInfo, Gradient, PartyInfo, Update
from vflc.ir.release import Guard
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops import infer
from vflc.ops.mechanisms import MECHANISMS
from vflc.ops.protection import Draw
from vflc.passes.learn.flow import FlowAnalysis
from vflc.passes.protect.joint import draw_node

SPAN = Span(Text("spec.vfl", "x"), 0, 1)
NUMBER = TensorType((ROWS, Axis(None, 1)))
TAGS = TensorType((ROWS, Axis(None, None)))
AGE, TAGGED, LIKED = (
    SecretSource("alice", "Age"),
    SecretSource("alice", "Tags"),
    SecretSource("bob", "liked", label=True),
)


def column(name: str, kind: str = "feature", *encoders: dict[str, Any]) -> ColumnInfo:
    return ColumnInfo(name, kind, "float", None, encoders, "number", None, SPAN)


PARTIES = (
    PartyInfo("alice", "ID", (column("Age"), column("Tags")), SPAN, SPAN),
    PartyInfo("bob", "ID", (column("liked", "label"),), SPAN, SPAN),
)


def node(id: str, op: str, *inputs: str, type: TensorType = NUMBER, **attrs: Any) -> Node:
    return Node(id, op, inputs, attrs, type)


def read(id: str, source: SecretSource, type: TensorType = NUMBER) -> Node:
    op = "label" if source.label else "feature"
    return replace(node(id, op, type=type, name=source.name), sources=frozenset({source}))


SCALAR = TensorType(())
X, TAG, Y = read("x", AGE), read("t", TAGGED, TAGS), read("y", LIKED)
W, V = node("w", "weight", type=SCALAR), node("v", "weight", type=SCALAR)


class Found:
    """The flows of a model of some nodes, as sets of names."""

    def __init__(self, *nodes: Node, inference: tuple[Node, ...] = (), **parts: Any) -> None:
        given = {"guards": (), "gradients": (), "updates": (), "assigns": (), "parties": PARTIES} | parts
        graphs = [Graph({each.id: each for each in part}) for part in (nodes, inference or nodes)]
        model: Any = SimpleNamespace(graph=graphs[0], inference=graphs[1], fits=(), **given)
        self.flow = FlowAnalysis(model)

    def names(self, members: int) -> set[str]:
        return {
            str(s.source) if s.behind is None else f"{s.source} behind {s.behind}"
            for s in self.flow.secrets.of(members)
        }

    def of(self, id: str, program: str = "train") -> tuple[set[str], set[str], set[str]]:
        """Of a value what its row, what other rows and weights, and what its size depends on."""
        flows = self.flow.graph(program)[id]
        return self.names(flows.row), self.names(flows.mixed), self.names(flows.sizes)


NONE: set[str] = set()


def test_a_column_is_a_secret_of_its_row_and_of_its_size_where_that_varies() -> None:
    found = Found(X, TAG, Y)
    assert found.of("x") == ({"alice.Age"}, NONE, NONE)
    assert found.of("t") == ({"alice.Tags"}, NONE, {"alice.Tags"})
    assert found.of("y", "predict") == ({"bob.liked"}, NONE, NONE)


@pytest.mark.parametrize(
    ("encoder", "fitted"),
    [({"name": "standardize"}, True), ({"name": "standardize", "mean": 0.0, "std": 2.0}, False)],
)
def test_an_encoder_that_is_fitted_mixes_rows(encoder: dict[str, Any], fitted: bool) -> None:
    alice = replace(PARTIES[0], columns=(column("Age", "feature", encoder),))
    found = Found(X, node("w", "weight", type=SCALAR, fitted={"input": "x"}), W2, parties=(alice,))
    assert found.of("x") == ({"alice.Age"}, {"alice.Age"} if fitted else NONE, NONE)
    assert found.of("w") == (NONE, {"alice.Age"}, NONE), "what undoes it depends on every row"
    assert found.of("w2") == (NONE, NONE, NONE)


W2 = node("w2", "weight", type=SCALAR)


def test_an_input_is_the_column_of_its_name_whatever_else_flowed_in() -> None:
    both = replace(X, sources=frozenset({AGE, TAGGED}))
    assert Found(both).of("x") == ({"alice.Age"}, NONE, NONE)


def test_a_sum_over_the_batch_mixes_rows_and_a_sum_within_a_row_does_not() -> None:
    within, over = node("a", "sum", "x", "w"), node("s", "sum", "x", "w", type=SCALAR)
    again = node("z", "add", "s", "w", type=SCALAR)
    found = Found(X, TAG, W, within, over, node("u", "sum", "t", type=SCALAR), again)
    assert found.of("a") == ({"alice.Age"}, NONE, NONE)
    assert found.of("s") == found.of("z") == (NONE, {"alice.Age"}, NONE)
    assert found.of("u") == (NONE, {"alice.Tags"}, {"alice.Tags"})


def test_what_mixes_rows_and_its_own_rows_add_up() -> None:
    total = node("s", "sum", "m", type=SCALAR)
    found = Found(X, Y, node("q", "sum", "y", type=SCALAR), node("m", "add", "x", "q"), total)
    assert found.of("m") == ({"alice.Age"}, {"bob.liked"}, NONE)
    assert found.of("s") == (NONE, {"alice.Age", "bob.liked"}, NONE)


GRAD = node("g", "sum", "x", type=SCALAR)
ROW_GRAD = node("r", "mul", "y", "x")


@pytest.mark.parametrize(
    ("parts", "learned"),
    [
        ({}, NONE),
        ({"gradients": (Gradient("w", "g"),)}, {"alice.Age"}),
        ({"gradients": (Gradient("w", "t"),)}, {"alice.Tags"}),
        ({"gradients": (Gradient("v", "g"),)}, NONE),
        ({"gradients": (Gradient("w", None, (("t", "r"),)),)}, NONE),  # the update has what is left of these
        ({"gradients": (Gradient("w", "g"), Gradient("w", "t"))}, {"alice.Age", "alice.Tags"}),
        ({"updates": (Update("u", "alice", "o", ("w",), None, (("t", "y"),)),)}, {"alice.Tags", "bob.liked"}),
        (
            {"updates": (Update("u", "alice", "o", ("w",), None, (("t", "x"), ("t", "y"))),)},
            {"alice.Age", "alice.Tags", "bob.liked"},
        ),
        ({"updates": (Update("u", "alice", "o", ("v",), None, (("t", "y"),)),)}, NONE),
        ({"assigns": (("w", "g"), ("w", "q"))}, {"alice.Age", "bob.liked"}),
        ({"assigns": (("w", "t"), ("w", "t"))}, {"alice.Tags"}),
        ({"gradients": (Gradient("w", "g"),), "assigns": (("w", "g"),)}, {"alice.Age"}),
    ],
)
def test_what_a_weight_learns_from(parts: dict[str, Any], learned: set[str]) -> None:
    found = Found(X, TAG, Y, GRAD, ROW_GRAD, node("q", "sum", "y", type=SCALAR), W, V, **parts)
    for program in ("train", "evaluate"):
        assert found.of("w", program) == (NONE, learned, NONE)


def test_a_weight_hands_on_what_it_learned_one_step_after_another() -> None:
    """The label trains v, v makes the gradient of w, and w that of u."""
    nodes = [Y, W, V, node("u", "weight", type=SCALAR), node("q", "sum", "y", type=SCALAR)]
    nodes += [node("gw", "mul", "v", type=SCALAR), node("gu", "mul", "w", type=SCALAR)]
    gradients = (Gradient("u", "gu"), Gradient("w", "gw"), Gradient("v", "q"))
    found = Found(*nodes, gradients=gradients)
    assert found.of("u") == found.of("w") == found.of("v") == (NONE, {"bob.liked"}, NONE)


def guard(**changes: Any) -> Guard:
    given = Guard("noise", "alice", "forward", ("a",), ("b",), "proven", "", "noise")
    return replace(given, **changes)


A = node("a", "add", "x", "q")
"""Of alice's own row, and of everybody's labels."""
GUARDED = (X, Y, node("q", "sum", "y", type=SCALAR), A, node("b", "rename", "a"))
EVERYWHERE = ("train", "evaluate", "predict")


@pytest.mark.parametrize(
    ("changes", "behind"),
    [
        ({}, {"train"}),
        ({"programs": EVERYWHERE}, set(EVERYWHERE)),
        ({"programs": ("evaluate", "predict")}, {"evaluate", "predict"}),
        ({"privacy": "partial"}, set()),
        ({"privacy": "none"}, set()),
        ({"before": ("b",)}, set()),  # masks, whose sum is in the clear
    ],
)
def test_a_mechanism_with_a_proof_stands_before_a_row_and_not_before_what_is_mixed_in(
    changes: dict[str, Any], behind: set[str]
) -> None:
    found = Found(*GUARDED, guards=(guard(**changes),))
    for program in EVERYWHERE:
        row = {"alice.Age behind noise"} if program in behind else {"alice.Age"}
        assert found.of("b", program) == (row, {"bob.liked"}, NONE)
        assert found.of("a", program) == ({"alice.Age"}, {"bob.liked"}, NONE), (
            "at its own place it is as it was"
        )


def test_a_size_is_not_behind_the_mechanism() -> None:
    found = Found(TAG, node("b", "rename", "t", type=TAGS), guards=(guard(before=("t",)),))
    assert found.of("b") == ({"alice.Tags behind noise"}, NONE, {"alice.Tags"})


def test_shares_of_rows_in_a_gradient_are_behind_the_mechanism_of_the_weight() -> None:
    """`dp_sgd` clips what each row adds to the sum s; what all rows have of the others stays."""
    nodes = (*GUARDED[:4], node("s", "sum", "a", type=SCALAR), W, node("n", "add", "s", type=SCALAR))
    private = guard(phase="backward", before=("s",), after=("n",), weights=("w",))
    found = Found(*nodes, guards=(private,), gradients=(Gradient("w", "n"),))
    assert found.of("s") == (NONE, {"alice.Age behind noise", "bob.liked"}, NONE)
    assert found.of("w") == (NONE, {"alice.Age behind noise", "bob.liked"}, NONE)
    other = Found(*nodes, guards=(replace(private, weights=()),))
    assert other.of("s") == (NONE, {"alice.Age", "bob.liked"}, NONE), "of another guard what comes after"


@pytest.mark.parametrize("name", [each.name for each in MECHANISMS if each.apply is not None])
def test_what_is_kept_of_a_row_is_in_its_message_anyway(name: str) -> None:
    """So that what a protection is fed adds nothing to what messages depend on."""
    mechanism = MECHANISMS[name]
    b = Build(Graph(), infer, ("noise",), "alice")
    row = b.graph.add(node("row", "feature", type=TensorType((ROWS, Axis(None, 4))), name="row"))
    options = mechanism.filled({"clip": 1.0, "epsilon": 1.0, "k": 2, "bits": 4, "scale": 1.0})

    def draw(what: Draw, width: int) -> Node:
        return draw_node(b, "noise", what, row, width)

    assert mechanism.apply is not None
    applied = mechanism.apply(b, row, options, draw)
    assert "row" in b.graph.ancestors([applied.training.id])
    assert "row" in b.graph.ancestors([applied.inference.id])
    if applied.kept is not None:
        kept = {
            each.op
            for each in map(b.graph.__getitem__, b.graph.ancestors([applied.kept.id]))
            if not each.inputs
        }
        assert kept <= {"feature", "constant", "drawn"}
