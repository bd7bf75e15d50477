"""What is said of edges, rule by rule, on analyses of a few edges: raw data, activations, the manifest."""

from __future__ import annotations

from math import inf

import pytest
from evidence.small_analyses import (
    AGE,
    CITY,
    COMPRESSED,
    ITEM,
    LIKED,
    NOISY,
    OWED,
    PARTIAL,
    PAY,
    SPAN,
    Case,
    back,
    edge,
    fact,
    leak,
    loss,
    node,
    row,
)
from msgspec.structs import replace

from vflc.ir.release import Guard
from vflc.ops.traits import FREE, ValueRange
from vflc.passes.evidence import forward
from vflc.passes.evidence.analysis import owners
from vflc.passes.evidence.coefficients import ONE, UNKNOWN
from vflc.passes.evidence.describe import describe
from vflc.passes.evidence.values import Dependence, Fact

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


# --- in the manifest ------------------------------------------------------------------------------


def test_what_is_known_of_an_activation_in_the_manifest() -> None:
    way, wide = Dependence(3, True, False), Dependence(inf, False, True)
    known = Fact({PAY: way, AGE: wide}, 2.0**53, ValueRange(-1, inf))
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
