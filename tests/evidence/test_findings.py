"""What is said of edges, rule by rule, on analyses of a few edges; and which waivers cover a finding."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from vflc_common.words import PROGRAMS

from vflc.diagnostics import Collector, Span
from vflc.diagnostics import Source as Text
from vflc.ir.graph import Graph, Node, Source
from vflc.ir.model import ColumnInfo, Edge, Loss, PartyInfo
from vflc.ir.release import Acceptance, Finding, Guard, Target
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops.traits import FREE, Range
from vflc.passes.evidence import backward, forward
from vflc.passes.evidence.analysis import Analysis, Leak, owners
from vflc.passes.evidence.coefficients import ONE, UNKNOWN, Coefficient
from vflc.passes.evidence.describe import describe
from vflc.passes.evidence.found import Found, covers, settle
from vflc.passes.evidence.scores import Score
from vflc.passes.evidence.values import Dependence, Fact

SPAN = Span(Text("spec.vfl", "x"), 0, 1)
AGE, CITY, PAY = Source("alice", "Age"), Source("alice", "City"), Source("alice", "Pay")
ITEM, LIKED, OWED = Source("bob", "Item"), Source("bob", "liked", True), Source("carol", "owed", True)


def column(name: str, rows: int | None = None, kind: str = "feature") -> ColumnInfo:
    return ColumnInfo(name, kind, "float", None, (), "id" if rows else "number", rows, SPAN)


PARTIES = (
    PartyInfo("alice", "ID", (column("Age"), column("City", 3), column("Pay")), SPAN, SPAN),
    PartyInfo("bob", "ID", (column("Item", 9), column("liked", kind="label")), SPAN, SPAN),
    PartyInfo("carol", "ID", (column("owed", kind="label"),), SPAN, SPAN),
    PartyInfo("hub", None, (), SPAN, SPAN),
)


def row(size: int | None = 1) -> TensorType:
    return TensorType((ROWS, Axis(None, size)))


def node(id: str, op: str = "neg", *inputs: str, type: TensorType | None = None, **more: Any) -> Node:
    return Node(id, op, inputs, {}, type or row(), **more)


def edge(id: str, target: str = "bob", phase: Any = "forward", **more: Any) -> Edge:
    given = {"source": "bob" if target == "alice" else "alice", "programs": PROGRAMS} | more
    return Edge(id, given.pop("node", id), given.pop("source"), target, phase, given.pop("programs"), **given)


class Case:
    """An analysis of some edges: what is known of their values, and what stands before them."""

    def __init__(self, *edges: Edge, nodes: tuple[Node, ...] = (), batch: int = 8) -> None:
        known = {each.id for each in nodes}
        nodes += tuple(node(e.node) for e in edges if e.node not in known)
        graph = Graph({each.id: each for each in nodes})
        parties = {party.name: party for party in PARTIES}
        self.model: Any = SimpleNamespace(
            edges=edges, graph=graph, inference=graph, graph_of=lambda program: graph, parties=PARTIES,
            party=parties.get, train=SimpleNamespace(batch=batch), acceptances=(),
        )  # fmt: skip

    def known(
        self,
        train: Mapping[str, Fact] | None = None,
        inference: Mapping[str, Fact] | None = None,
        guards: Mapping[str, tuple[Guard, ...]] | None = None,
        leaks: tuple[Leak, ...] = (),
        bare: tuple[str, ...] = (),
    ) -> Analysis:
        facts = train or {}
        return Analysis(self.model, facts, inference or facts, guards or {}, leaks, frozenset(bare))


def guard(privacy: Any = "proven") -> Guard:
    return Guard("noise", "alice", "forward", ("a",), ("b",), privacy, "")


NOISY, PARTIAL, COMPRESSED = (guard(),), (guard("partial"),), (guard("none"),)


def fact(*sources: Source, distinct: float = inf, linear: bool = True, injective: bool = False) -> Fact:
    return Fact({source: Dependence(1, linear, injective) for source in sources}, distinct)


# --- what an analysis says of an edge -------------------------------------------------------------


def test_of_an_edge_the_facts_of_training_count_where_it_crosses_there() -> None:
    case, few, many = Case(), fact(distinct=2), fact(distinct=9)
    analysis = case.known({"a": few}, {"a": many})
    assert analysis.fact(edge("a")) is few
    assert analysis.fact(edge("a", programs=("evaluate", "predict"))) is many


@pytest.mark.parametrize(
    ("guards", "private"), [((), False), (NOISY, True), (COMPRESSED, False), (COMPRESSED + PARTIAL, True)]
)
def test_an_edge_is_private_behind_noise_or_masks(guards: tuple[Guard, ...], private: bool) -> None:
    assert Case().known(guards={"a": guards}).private(edge("a")) is private
    assert not Case().known(guards={"a": guards}).private(edge("b"))


def test_who_owns_labels() -> None:
    assert owners((LIKED, OWED, LIKED)) == {"bob", "carol"} and owners(()) == set()


# --- forward ----------------------------------------------------------------------------------------


def test_raw_data_is_found_on_every_edge_and_nothing_else() -> None:
    a = node("a", sources=frozenset({CITY, AGE}), span=SPAN)
    case = Case(edge("b"), edge("a"), edge("a", "hub"), nodes=(a,))
    found = list(forward.raw_findings(case.known(bare=("a",))))
    assert [(f.code, f.edges[0].target, f.level) for f in found] == [
        ("VFL0301", "bob", "error"), ("VFL0301", "hub", "error"),
    ]  # fmt: skip
    assert found[0].message == "alice.Age, alice.City reaches bob raw" and found[0].span is SPAN
    assert found[0].help == "put a trained layer between, at alice"


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ({"a": fact(LIKED)}, "each of its 2 values tells it"),
        ({"a": fact(LIKED, distinct=5)}, "each of its 5 values tells it"),
        ({"a": fact(AGE)}, None),
        ({"a": fact(OWED)}, None),  # the receiver's own
        ({"a": fact(OWED, LIKED, AGE)}, "computed from bob.liked: "),
    ],
)
def test_an_activation_made_of_a_label_tells_it(known: dict[str, Fact], says: str | None) -> None:
    case = Case(edge("a", "carol", source="bob"), edge("g", "carol", "backward"))
    told = list(forward.labels_told(case.known(known)))
    assert [(e.kind, e.receiver, e.sources, e.edges) for e in told] == (
        [("label", "carol", (LIKED,), ("a",))] if says else []
    )
    assert not says or says in told[0].says
    for hidden in ({"bare": ("a",)}, {"guards": {"a": NOISY}}):
        assert not list(forward.labels_told(case.known(known, **hidden)))


@pytest.mark.parametrize(
    ("known", "kind", "says"),
    [
        (fact(AGE, CITY, distinct=256), "few values", "256 different values"),
        (fact(AGE, CITY, distinct=257), None, ""),
        (fact(AGE, distinct=7), "few values", "7 different values"),
        (fact(AGE, distinct=257), "one column", "is a function of it alone"),
        (fact(AGE, injective=True), "one column", "is a one-to-one function of it alone"),
        (fact(AGE, ITEM), "one column", "of it alone"),  # besides what the receiver has
        (fact(ITEM, distinct=2), None, ""),
        (fact(AGE, LIKED, distinct=2), "few values", ""),
        (fact(AGE, OWED, distinct=2), None, ""),  # a label tells more
    ],
)
def test_what_one_edge_tells_of_features(known: Fact, kind: str | None, says: str) -> None:
    case = Case(edge("a"), edge("g", phase="backward"))
    told = list(forward.single_edges(case.known({"a": known})))
    assert [e.kind for e in told] == ([kind] if kind else [])
    if told:
        assert says in told[0].says and told[0].receiver == "bob" and told[0].edges == ("a",)
        assert told[0].sources == tuple(s for s in known.ways if s.party == "alice")
    for hidden in ({"bare": ("a",)}, {"guards": {"a": NOISY}}):
        assert not list(forward.single_edges(case.known({"a": known}, **hidden)))
    assert len(list(forward.single_edges(case.known({"a": known}, guards={"a": COMPRESSED})))) == len(told)


@pytest.mark.parametrize(
    ("widths", "known", "numbers"),
    [
        ((1,), (fact(AGE),), 1),
        ((1,), (fact(AGE, PAY),), None),
        ((2,), (fact(AGE, PAY),), 2),
        ((3,), (fact(CITY),), 3),
        ((2,), (fact(CITY),), None),
        ((3,), (fact(AGE, PAY, ITEM),), 2),
        ((2, 2), (fact(CITY), fact(CITY, AGE)), 4),
        ((2, 1), (fact(CITY), fact(CITY, AGE)), None),
        ((4, 1), (fact(AGE), fact(AGE, PAY, linear=False)), 1),
        ((1, 4), (fact(AGE, PAY), fact(ITEM)), None),  # the second tells nothing of alice
        ((None, 2), (fact(AGE), fact(AGE, PAY)), 2),
        ((None, 1), (fact(AGE), fact(AGE, PAY)), None),
        ((2,), (fact(LIKED, AGE),), 1),
    ],
)
def test_linear_edges_that_are_enough_can_be_solved(
    widths: tuple[int | None, ...], known: tuple[Fact, ...], numbers: int | None
) -> None:
    names = [f"e{n}" for n in range(len(widths))]
    nodes = tuple(node(name, type=row(size)) for name, size in zip(names, widths, strict=True))
    case, facts = Case(*map(edge, names), nodes=nodes), dict(zip(names, known, strict=True))
    told = list(forward.solvable_edges(case.known(facts)))
    assert len(told) == (numbers is not None)
    for each in told:
        assert f"of {numbers} numbers a row of alice" in each.says and each.receiver == "bob"
        assert all(not source.label and source.party == "alice" for source in each.sources)
        assert each.edges == tuple(
            n for n in names if all(w.linear for w in facts[n].ways.values()) and n in each.edges
        )
    for hidden in ({"bare": tuple(names)}, {"guards": dict.fromkeys(names, NOISY)}):
        assert not list(forward.solvable_edges(case.known(facts, **hidden)))


def test_edges_of_several_places_are_solved_apart() -> None:
    edges = (edge("a"), edge("b", "hub"), edge("c"), edge("d", "bob", source="carol"))
    two = fact(AGE, PAY)
    known = Case(*edges).known({"a": two, "b": two, "c": two, "d": fact(OWED)})
    (told,) = forward.solvable_edges(known)
    assert (told.receiver, told.edges, told.sources) == ("bob", ("a", "c"), (AGE, PAY))
    assert told.says.startswith("2 linear combinations of 2 numbers")


# --- backward -----------------------------------------------------------------------------------


def loss(kind: str = "bce") -> Loss:
    return Loss("liked", "loss", 1.0, kind, None, None, SPAN)


def leak(
    edges: Mapping[str, Coefficient],
    kind: str = "bce",
    receiver: str = "alice",
    labels: tuple[Source, ...] = (LIKED,),
    guarded: bool = False,
    score: str = "logit",
    width: int = 4,
    slopes: int = 1,
) -> Leak:
    return Leak(receiver, Score(loss(kind), score, labels, guarded), edges, {}, width, slopes)


@pytest.mark.parametrize(
    ("width", "slopes", "exact"),
    [(0, 1, False), (1, 1, True), (1, 2, True), (1, 3, False), (2, 3, True), (4, 6, False), (0, 0, False)],
)  # fmt: skip
def test_how_many_numbers_tell_a_label(width: int, slopes: int, exact: bool) -> None:
    assert leak({}, width=width, slopes=slopes).exact is exact


def back(id: str, **more: Any) -> Edge:
    return edge(f"{id}.gradient", "alice", "backward", gradient_of=id, **more)


@pytest.mark.parametrize(
    ("coefficient", "words"),
    [
        (ONE, "a factor that is the same for all rows: its sign is the label, row by row"),
        (Coefficient(zeros=True), "the label, row by row wherever it is not 0"),
        (Coefficient(varies=True), "a factor whose sign is the same for all rows"),
        (Coefficient(known=("a",)), "a factor that alice knows"),
    ],
)
def test_an_exact_label(coefficient: Coefficient, words: str) -> None:
    case = Case(back("a"), back("b"), back("c"))
    known = {"a.gradient": UNKNOWN, "b.gradient": coefficient, "c.gradient": coefficient}
    (told,) = backward.labels_in_gradients(
        case.known(leaks=(leak(known, labels=(LIKED, Source("alice", "z", True))),))
    )
    assert (told.kind, told.receiver, told.sources) == ("exact label", "alice", (LIKED,))
    assert told.edges == ("b.gradient", "c.gradient") and told.says.startswith(
        "`b.gradient` is the derivative"
    )
    assert words in told.says


@pytest.mark.parametrize(
    ("kind", "tells"),
    [
        ("cce", "its direction is the class"),
        ("mse", "the difference of prediction"),
        ("other", "one example's loss"),
    ],
)
def test_what_the_slope_of_a_loss_tells(kind: str, tells: str) -> None:
    (told,) = backward.labels_in_gradients(Case(back("a")).known(leaks=(leak({"a.gradient": ONE}, kind),)))
    assert tells in told.says


@pytest.mark.parametrize(
    ("kind", "hints"), [("bce", True), ("cce", True), ("penalty", True), ("mse", False), ("huber", False)]
)
def test_what_is_not_exact_hints_where_labels_are_classes(kind: str, hints: bool) -> None:
    case = Case(back("a"), back("b"))
    for known in (
        leak({"b.gradient": UNKNOWN, "a.gradient": UNKNOWN}, kind),
        leak({"b.gradient": UNKNOWN, "a.gradient": ONE}, kind, width=0),
    ):
        told = list(backward.labels_in_gradients(case.known(leaks=(known,))))
        assert [(e.kind, e.edges) for e in told] == [("hints", ("a.gradient", "b.gradient"))] * hints


def test_what_noise_stands_before_tells_nothing() -> None:
    case, both = Case(back("a"), back("b")), {"a.gradient": ONE, "b.gradient": UNKNOWN}

    def told(*leaks: Leak, **guards: tuple[Guard, ...]) -> list[tuple[str, tuple[str, ...]]]:
        behind = {f"{name}.gradient": each for name, each in guards.items()}
        return [
            (e.kind, e.edges) for e in backward.labels_in_gradients(case.known(guards=behind, leaks=leaks))
        ]

    assert told(leak(both), a=NOISY) == [("hints", ("b.gradient",))]
    assert not told(leak({"a.gradient": ONE}), a=NOISY) and not told(leak(both, guarded=True))
    assert len(told(leak(both, guarded=True), leak(both), leak(both))) == 2, "each is judged by itself"


def test_a_sum_over_a_batch_of_one_row_is_the_row() -> None:
    once, secrets = TensorType((Axis(None, 3),)), frozenset({LIKED, AGE})
    nodes = (
        node("w.gradient", type=once, sources=secrets), node("a.gradient", sources=secrets),
        node("v.gradient", type=once, sources=frozenset({AGE})), node("f", type=once, sources=secrets),
    )  # fmt: skip
    edges = (edge("f", "alice"), back("a"), back("v"), back("w"))
    for batch, count in ((1, 1), (2, 0)):
        case = Case(*edges, nodes=nodes, batch=batch)
        told = list(backward.single_rows(case.known()))
        assert [(e.kind, e.receiver, e.sources, e.edges) for e in told] == [
            ("one row", "alice", (LIKED,), ("w.gradient",))
        ] * count
        assert not list(backward.single_rows(case.known(guards={"w.gradient": NOISY})))


def test_rows_of_a_table_that_move_are_the_ids_of_others() -> None:
    nodes = (
        node("ids", "feature", sources=frozenset({ITEM, AGE})),
        node("t", "weight", type=TensorType((Axis(None, 9),))), node("rows", "gather", "t", "ids"),
        node("more", "gather", "t", "ids", phase="backward"),
        node("w", "weight", type=TensorType(())), node("used", "mul", "w", "ids"),
        node("mine", "gather", "m", "own"), node("own", "feature", sources=frozenset({AGE})),
        node("m", "weight", type=TensorType(())), node("value", "where"),
        node("of", "gather", "value", "ids"),
    )  # fmt: skip
    graph = sorted(nodes, key=lambda each: len(each.inputs))
    edges = (edge("value"), back("w"), back("m"), back("value"), edge("t", "alice"), back("t"))
    case = Case(*edges, nodes=(*graph, *(node(e.node) for e in edges if e.phase == "backward")))
    (told,) = backward.table_rows(case.known())
    assert (told.kind, told.receiver, told.sources, told.edges) == ("ids", "alice", (ITEM,), ("t.gradient",))
    assert not list(backward.table_rows(case.known(guards={"t.gradient": NOISY})))
    loose = replace(edges[-1], gradient_of=None)
    assert not list(backward.table_rows(Case(loose, nodes=tuple(graph)).known()))


def test_secrets_of_all_but_the_receiver_are_told_whatever_their_names() -> None:
    """To bob, of alice before him and carol behind him in the alphabet."""
    labels = tuple(Source(party, "l", True) for party in ("alice", "bob", "carol"))
    ids = tuple(Source(party, "i") for party in ("alice", "bob", "carol"))
    others = (labels[0], labels[2])
    nodes = (
        node("ids", "feature", sources=frozenset(ids)), node("t", "weight"),
        node("rows", "gather", "t", "ids"), node("g", type=TensorType(()), sources=frozenset(labels)),
    )  # fmt: skip
    edges = (edge("a"), edge("t.gradient", phase="backward", gradient_of="t"), edge("g", phase="backward"))
    case = Case(*edges, nodes=nodes, batch=1)
    known = case.known(
        {"a": fact(*labels)}, leaks=(leak({"t.gradient": ONE}, receiver="bob", labels=labels),)
    )
    (told,) = forward.labels_told(known)
    assert told.sources == others
    (told,) = backward.labels_in_gradients(known)
    assert told.sources == others
    (told,) = backward.single_rows(known)
    assert set(told.sources) == set(others)
    (told,) = backward.table_rows(known)
    assert told.sources == (ids[0], ids[2])
    (told,) = forward.single_edges(case.known({"a": fact(*ids, distinct=2)}))
    assert told.sources == (ids[0], ids[2])


def test_the_end_of_a_model_at_a_party_without_the_labels() -> None:
    nodes = (
        node("logit", place="alice", span=SPAN), node("at_hub", place="hub"), node("at_carol", place="carol"),
        node("nowhere"),
    )  # fmt: skip
    case = Case(back("a"), back("logit"), nodes=nodes)
    known = {"logit.gradient": ONE}

    def found(*leaks: Leak) -> list[Found]:
        return list(backward.end_findings(case.known(leaks=leaks)))

    (told,) = found(leak(known, labels=(OWED, LIKED)))
    assert (
        told.code == "VFL0325"
        and told.level == "warning"
        and [e.id for e in told.edges] == ["logit.gradient"]
    )
    assert "the end of the model of bob, carol: it" in told.message and told.span is SPAN
    assert not found(leak(known, guarded=True)) and not found(leak(known, receiver="hub"))
    assert not found(leak(known, receiver="hub", score="at_hub")), "a place without data"
    assert not found(leak(known, receiver="carol", score="at_carol", labels=(LIKED,))), "it has no features"
    assert not found(leak(known, receiver="", score="nowhere"))
    assert len(found(leak(known, guarded=True), leak(known), leak(known))) == 1, "once for a value"


# --- in the manifest ------------------------------------------------------------------------------


def test_what_is_known_of_an_activation_in_the_manifest() -> None:
    way, wide = Dependence(3, True, False), Dependence(inf, False, True)
    known = Fact({PAY: way, AGE: wide}, 2.0**53, Range(-1, inf))
    many = Fact({}, 2.0**54, FREE)
    nodes = (node("a", type=row(3)), node("b", type=row(None)))
    case = Case(edge("a"), edge("b", programs=("predict",)), nodes=nodes)
    told = describe(case.known({"a": known, "b": known}, {"a": many, "b": replace(many, distinct=inf)}))
    assert told == {
        "a": {
            "values": 2**53, "bits_per_row": 53.0, "range": [-1, None],
            "secrets": {
                "alice.Age": {"width": None, "linear": False, "injective": True},
                "alice.Pay": {"width": 3, "linear": True, "injective": False},
            },
        },
        "b": {"values": None, "bits_per_row": None, "range": [None, None], "secrets": {}},
    }  # fmt: skip
    assert list(told["a"]["secrets"]) == ["alice.Age", "alice.Pay"]
    (few,) = describe(Case(edge("a")).known({"a": fact(distinct=5)})).values()
    assert few["bits_per_row"] == 2.322
    (more,) = describe(Case(edge("a"), nodes=nodes[:1]).known({"a": many})).values()
    assert more["values"] is None and more["bits_per_row"] == 54


def test_what_is_known_of_a_gradient_in_the_manifest() -> None:
    case = Case(back("a"), back("b"))
    of_a, of_both = leak({"a.gradient": ONE}), leak({"a.gradient": UNKNOWN, "b.gradient": ONE})
    score = replace(of_both.score, loss=replace(loss(), name="more"), labels=(OWED, LIKED))
    of_both = replace(of_both, score=score)
    told = describe(case.known(leaks=(of_a, of_both)))
    same = {"labels": ["bob.liked"], "coefficient": "same for all rows"}
    more = {"labels": ["carol.owed", "bob.liked"], "coefficient": "varies by row"}
    assert told["a.gradient"] == {"slopes": {"liked": same, "more": more}}
    assert told["b.gradient"] == {"slopes": {"more": more | {"coefficient": "same for all rows"}}}


# --- waivers ----------------------------------------------------------------------------------------


def accept(
    *values: str, to: str | None = None, text: str = "a", code: str = "VFL0301", reason: str = "r"
) -> Acceptance:
    return Acceptance(code, Target(values, to, text, SPAN), reason, SPAN)


@pytest.mark.parametrize(
    ("acceptance", "covered"),
    [
        (accept(to="alice"), {"x.gradient"}),
        (accept(to="bob"), set()),
        (accept(to="aaron"), set()),
        (accept("n"), {"e"}),
        (accept("e"), {"e"}),
        (accept("x"), {"x.gradient"}),
        (accept("other", text="x"), {"x.gradient"}),
        (accept(text="e"), {"e"}),
        (accept(text="scope"), {"scope.dense"}),
        (accept(text="sco"), set()),
        (accept("scope"), {"scope.dense"}),
    ],
)
def test_which_edges_a_waiver_names(acceptance: Acceptance, covered: set[str]) -> None:
    if acceptance.target.values == ("scope",):
        acceptance = accept("scope", text="scope")
    edges = (edge("e", node="n"), edge("scope.dense"), back("x"))
    assert {each.id for each in edges if covers(acceptance, each)} == covered


def found(*edges: Edge, code: str = "VFL0301") -> Found:
    return Found(code, edges, f"{code} found", SPAN, "help")


A, B = edge("a"), edge("b")


def settled(
    acceptances: tuple[Acceptance, ...], *findings: Found
) -> tuple[tuple[Finding, ...], list[tuple[str, str]]]:
    collector, model = Collector(), SimpleNamespace(acceptances=acceptances)
    kept = settle(model, findings, collector)  # type: ignore[arg-type]
    return kept, [(d.level, f"{d.code}: {d.help}") for d in collector.diagnostics]


def test_what_nobody_waives_is_reported_and_kept() -> None:
    kept, said = settled((), found(A), found(B, code="VFL0325"))
    assert kept == (
        Finding("VFL0301", "error", ("a",), "VFL0301 found", None),
        Finding("VFL0325", "warning", ("b",), "VFL0325 found", None),
    )
    assert said == [("error", "VFL0301: help"), ("warning", "VFL0325: help")]


def test_waivers_together_cover_a_finding_with_their_reasons() -> None:
    waivers = (accept("a", reason="one"), accept("b", text="b", reason="two"), accept("a", "b", reason="one"))
    (kept,), said = settled(waivers, found(A, B))
    assert kept.accepted == "one; two" and kept.edges == ("a", "b") and not said
    kept_all, said = settled((accept("a"),), found(A), found(A))
    assert [each.accepted for each in kept_all] == ["r", "r"] and not said


@pytest.mark.parametrize(
    ("acceptance", "findings", "help"),
    [
        (accept("a"), (found(A, B),), "waive all edges of the finding: `a`, `b`"),
        (accept(text="c"), (found(A, B), found(A)), "VFL0301 is about `a`, `b`"),
        (accept("a", code="VFL0302"), (found(A), found(B, code="VFL0325"), found(A)),
         "remove it: the findings there are VFL0301, VFL0325"),
        (accept("a"), (), "remove it: there are no findings there"),
        (accept("a"), (found(),), "VFL0301 is about "),
    ],
)  # fmt: skip
def test_a_waiver_of_what_was_not_found_is_refused(
    acceptance: Acceptance, findings: tuple[Found, ...], help: str
) -> None:
    kept, said = settled((acceptance,), *findings)
    assert all(each.accepted is None for each in kept)
    assert said[-1] == ("error", f"VFL0307: {help}")
    assert len(said) == len({each.message for each in findings}) + 1
