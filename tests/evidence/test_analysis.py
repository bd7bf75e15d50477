"""What a receiver of gradients can make of all of them: on a small model of four places."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from vflc_common.words import PROGRAMS

from vflc.diagnostics import SourceText as Text
from vflc.diagnostics import Span
from vflc.ir.build import Build, Initializer
from vflc.ir.graph import Graph, Node, SecretSource
from vflc.ir.model import ColumnInfo, Edge, Loss, PartyInfo, TrainConfig
from vflc.ir.stages import Partitioned
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops import infer
from vflc.passes.evidence.analysis import Analysis, Leak, _known, analyse
from vflc.passes.evidence.coefficients import ONE, Coefficient

SPAN = Span(Text("spec.vfl", "x"), 0, 1)
NUMBER = TensorType((ROWS, Axis(None, 1)))
COLUMNS = {"alice": ("x", "feature"), "bob": ("y", "label"), "carol": ("z", "label"), "hub": None}
BACK = "gradient"


class Small:
    """alice's a (three numbers, of x by w) goes to bob and the hub, where it is summed with weights.

    The hub sends its score h to bob, and bob compares logit, which is h and his own score, with y.
    """

    def __init__(self, size: int = 1) -> None:
        self.b = Build(Graph(), infer)
        self.parties = []
        for party, column in COLUMNS.items():
            columns = ()
            if column is not None:
                name, kind = column
                columns = (ColumnInfo(name, kind, "float", None, (), "number", None, SPAN),)
                source = SecretSource(party, name, kind == "label")
                attrs = {"party": party, "name": name, "kind": "number", "rows": None}
                self.b.graph.add(Node(name, kind, (), attrs, NUMBER, frozenset({source}), party))
            self.parties.append(PartyInfo(party, "ID", columns, SPAN, SPAN))
        self.weight("w", "alice", 1, 3)
        self.named("a", "alice", "matmul", self["x"], self["w"])
        for place, weight, score in (("hub", "u", "h"), ("bob", "v", "s")):
            self.weight(weight, place, 3, size)
            self.named(score, place, "matmul", self["a"], self[weight])
        self.named("logit", "bob", "add", self["h"], self["s"])
        self.edges = [
            self.edge("a", "alice", "bob"),
            self.edge("a", "alice", "hub"),
            self.edge("h", "hub", "bob"),
        ]

    def __getitem__(self, name: str) -> Node:
        return self.b.graph[name]

    def weight(self, name: str, place: str, *sizes: int) -> None:
        with self.b.within(place=place):
            self.b.weight(name, [Axis(None, size) for size in sizes], Initializer("zeros"))

    def named(self, name: str, place: str, op: str, *inputs: Node) -> Node:
        attrs = {"transpose_x": False, "transpose_y": False} if op == "matmul" else {}
        type, sources = (
            infer(op, [x.type for x in inputs], attrs),
            frozenset[SecretSource]().union(*(x.sources for x in inputs)),
        )
        ids = tuple(x.id for x in inputs)
        return self.b.graph.add(Node(name, op, ids, attrs, type, sources, place))

    def edge(self, id: str, source: str, target: str, *programs: Any) -> Edge:
        return Edge(id, id, source, target, "forward", programs or PROGRAMS)

    def back(self, of: str, source: str, target: str) -> None:
        """The gradient of a value comes from a place that reads it."""
        name = f"{of}.{BACK}.{source}"
        if name not in self.b.graph:
            self.b.graph.add(
                replace(self[of], id=name, op="neg", inputs=(of,), place=source, phase="backward")
            )
        self.edges.append(Edge(name, name, source, target, "backward", PROGRAMS[:1], of))

    def analysis(self, *labels: str, kind: str = "mse") -> Analysis:
        with self.b.within(place="bob"):
            wrong = self["logit"]
            for label in labels or ("y",):
                wrong = self.b.op("mul", self.b.op("sub", wrong, self[label]), wrong)
            total = self.b.op("mean", wrong, axes=(0, 1), keep=False)
        loss = Loss("y", total.id, 1.0, kind, "logit", "y", SPAN)
        return analyse(self.model(loss))

    def model(self, loss: Loss) -> Partitioned:
        graph = self.b.graph
        return Partitioned(
            name="small", graph=graph, parties=tuple(self.parties), losses=(loss,), predictions=(),
            assigns=(), train=TrainConfig(), places=tuple(COLUMNS), inference=graph, gradients=(),
            updates=(), edges=tuple(self.edges), messages=(),
        )  # fmt: skip

    def leaks(self, *labels: str, kind: str = "mse") -> dict[str, Leak]:
        return {leak.receiver: leak for leak in self.analysis(*labels, kind=kind).leaks}


LINEAR = Coefficient(sign=None, whole=False)


def test_who_is_sent_gradients_learns_of_labels_and_who_owns_them_does_not() -> None:
    small = Small()
    assert not small.leaks()
    small.back("a", "bob", "alice")
    small.back("a", "hub", "alice")
    small.back("h", "bob", "hub")
    small.back("logit", "hub", "bob")
    found = small.leaks()
    assert set(found) == {"alice", "hub"}
    alice, hub = found["alice"], found["hub"]
    assert alice.edges == {"a.gradient.bob": LINEAR, "a.gradient.hub": LINEAR}
    assert (alice.width, alice.slopes, alice.exact) == (6, 1, True)
    assert hub.edges == {"h.gradient.bob": ONE} and hub.width == 1
    assert alice.paths["logit"] == alice.paths["h"] == ONE and alice.paths["a"] == LINEAR


def test_of_a_label_of_two_owners_each_learns_the_other() -> None:
    small = Small()
    small.back("logit", "hub", "bob")
    small.back("a", "bob", "alice")
    assert set(small.leaks("y")) == {"alice"}
    assert set(small.leaks("y", "z")) == {"alice", "bob"}


def test_the_gradient_of_what_a_loss_judges_is_its_slope_wherever_it_comes_from() -> None:
    small = Small()
    small.back("logit", "hub", "alice")
    assert small.leaks()["alice"].edges == {"logit.gradient.hub": ONE}


def test_a_gradient_holds_what_comes_from_readers_at_its_source() -> None:
    small = Small()
    small.named("more", "hub", "exp", small["a"])
    small.named("logit2", "hub", "mul", small["h"], small["logit"])
    small.back("a", "bob", "alice")
    small.back("a", "carol", "alice")
    assert set(small.leaks()["alice"].edges) == {"a.gradient.bob"}, "nobody at carol reads it"


def test_a_gradient_of_open_size_has_one_number_at_least() -> None:
    small = Small()
    small.back("a", "bob", "alice")
    nodes = small.b.graph.nodes
    nodes["a.gradient.bob"] = replace(nodes["a.gradient.bob"], type=TensorType((ROWS, Axis(None, None))))
    assert small.leaks()["alice"].width == 1


def test_sums_over_a_batch_are_no_rows() -> None:
    small = Small()
    small.back("v", "bob", "alice")
    assert not small.leaks()
    small.edges.append(replace(small.edges[-1], id="loose", gradient_of=None))
    assert not small.leaks()
    small.back("a", "bob", "alice")
    assert set(small.leaks()["alice"].edges) == {"a.gradient.bob"}


@pytest.mark.parametrize(
    ("kind", "size", "slopes"), [("cce", 5, 5), ("cce", 2, 2), ("cce", 1, 1), ("mse", 5, 1), ("bce", 5, 1)]
)
def test_how_many_numbers_a_slope_has(kind: str, size: int, slopes: int) -> None:
    small = Small(size)
    small.back("a", "bob", "alice")
    small.back("h", "bob", "hub")
    found = small.leaks(kind=kind)
    assert found["alice"].slopes == slopes
    assert found["alice"].edges["a.gradient.bob"].mixed is (slopes > 1)
    assert found["hub"].width == size


def test_rows_of_which_some_are_0_do_not_tell_a_direction() -> None:
    """alice knows v and what comes back through it, up to where it vanishes."""
    for kind, size, width in (("cce", 4, 0), ("cce", 2, 0), ("mse", 4, 3)):
        small = Small(size)
        small.edges.append(small.edge("v", "bob", "alice"))
        small.back("a", "bob", "alice")
        alice = small.leaks(kind=kind)["alice"]
        assert alice.edges["a.gradient.bob"].zeros and alice.width == width


def test_what_is_of_no_known_kind_counts_for_no_width() -> None:
    small = Small()
    small.named("bent", "bob", "cos", small["a"])
    small.named("t", "bob", "matmul", small["bent"], small["v"])
    small.named("end", "bob", "add", small["logit"], small["t"])
    small.back("a", "bob", "alice")
    small.back("logit", "bob", "alice")
    with small.b.within(place="bob"):
        total = small.b.op("mean", small.b.op("mul", small["end"], small["y"]), axes=(0, 1), keep=False)
    loss = Loss("y", total.id, 1.0, "mse", "end", "y", SPAN)
    (leak,) = analyse(small.model(loss)).leaks
    assert leak.edges["a.gradient.bob"].unknown and not leak.edges["logit.gradient.bob"].unknown
    assert leak.width == 1


def test_what_a_receiver_knows() -> None:
    small = Small()
    graph = small.b.graph
    with small.b.within(place="bob"):
        half = small.b.constant(0.5)
        chance = small.b.random("chance", small["s"])
        later = small.b.op("mul", small["h"], half)
    small.edges.append(small.edge("later", "bob", "alice"))
    small.edges.append(Edge("p", "logit", "bob", "alice", "forward", ("predict",)))
    small.back("a", "bob", "alice")
    small.named("late", "alice", "neg", small["a"])
    model = small.analysis().model
    own = {"x", "w", "a", "late", half.id, chance.id}
    assert _known(model, "alice") == own
    told = replace(model, edges=(*model.edges, small.edge("u", "hub", "alice", "train")))
    assert _known(told, "alice") == own | {"u", "h", later.id}, "what it can compute from what it has"
    back = Edge("b", "v", "bob", "alice", "backward", ("train",))
    assert _known(replace(model, edges=(*model.edges, back)), "alice") == own
    assert "y" in _known(model, "bob") and "z" not in _known(model, "bob")
    assert _known(model, "hub") == {"a", "late", "u", "h", half.id, chance.id, later.id}
    assert {n.id for n in graph if n.phase == "backward"}.isdisjoint(_known(model, "bob"))


def test_which_edges_no_weight_stands_before() -> None:
    small = Small()
    small.edges.append(small.edge("x", "alice", "bob", "predict"))
    assert small.analysis().bare == {"x"}
