"""What is said of gradients, and of what can be told from them of labels, on analyses of a few edges."""

from __future__ import annotations

import pytest
from evidence.small_analyses import (
    AGE,
    ITEM,
    LIKED,
    NOISY,
    OWED,
    SPAN,
    Case,
    back,
    edge,
    fact,
    leak,
    node,
)
from msgspec.structs import replace

from vflc.ir.graph import SecretSource
from vflc.ir.release import Guard
from vflc.ir.types import Axis, TensorType
from vflc.passes.evidence import backward, forward
from vflc.passes.evidence.analysis import Leak
from vflc.passes.evidence.coefficients import ONE, UNKNOWN, Coefficient
from vflc.passes.evidence.found import Found


@pytest.mark.parametrize(
    ("width", "slopes", "exact"),
    [(0, 1, False), (1, 1, True), (1, 2, True), (1, 3, False), (2, 3, True), (4, 6, False), (0, 0, False)],
)  # fmt: skip
def test_how_many_numbers_tell_a_label(width: int, slopes: int, exact: bool) -> None:
    assert leak({}, width=width, slopes=slopes).exact is exact


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
        case.known(leaks=(leak(known, labels=(LIKED, SecretSource("alice", "z", True))),))
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
    labels = tuple(SecretSource(party, "l", True) for party in ("alice", "bob", "carol"))
    ids = tuple(SecretSource(party, "i") for party in ("alice", "bob", "carol"))
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
