"""The rules of the analysis one by one: codes, columns, sets of secrets, bounds, grants."""

from __future__ import annotations

from math import inf, log2
from types import SimpleNamespace
from typing import Any

import pytest
from vflc_common.bound import Bound, BoundKind
from vflc_common.words import Program

from vflc.diagnostics import SourceText as Text
from vflc.diagnostics import Span
from vflc.ir.graph import SecretSource
from vflc.ir.learn import ALL, NOTHING, Spend
from vflc.ir.model import ColumnInfo, PartyInfo
from vflc.ir.release import Grant, Guard
from vflc.passes.learn.bounds import bound_of, codes_of
from vflc.passes.learn.columns import CONDITIONS, code_bits, folded, table_columns
from vflc.passes.learn.flow import FlowAnalysis, Flows, Secret, Secrets, _joined, _read
from vflc.passes.learn.granted import _cheaper, _kin, _phases, _ways, _within, listed
from vflc.passes.learn.limits import _named as is_edge
from vflc.passes.learn.received import NAMED, Route, _crossings, _named, together
from vflc.passes.learn.spending import spends

SPAN = Span(Text("spec.vfl", "feature C{1..12}: float"), 0, 7)
OTHER, THIRD = Span(SPAN.source, 8, 16), Span(SPAN.source, 17, 20)


def column(name: str = "x", value: Any = None, **more: Any) -> ColumnInfo:
    given = {"kind": "feature", "encoders": (), "shape": "number", "rows": None, "span": SPAN} | more
    return ColumnInfo(name=name, type=None if value else "float", value=value, **given)


def party(*columns: ColumnInfo) -> PartyInfo:
    return PartyInfo("alice", "ID", columns, SPAN, SPAN)


def guard(name: str, epsilon: float | None = 1.0, **options: Any) -> Guard:
    given = {"epsilon": epsilon, **options}
    return Guard(name, "alice", "forward", (), (), True, "", name, "gaussian", given)


# --- columns and codes ---------------------------------------------------------------------------

A, B = {"column": "A"}, {"column": "B"}
POSITIVE = {"op": ">", "args": [A, {"number": 0}]}
ENDLESS = {"call": "log", "args": [A]}
SEQUENCE = ({"name": "split"}, {"name": "sequence", "max": 5})


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ("x",)),
        (A, ("A",)),
        ({"op": "+", "args": [B, {"call": "log", "args": [A]}, B]}, ("B", "A")),
        ({"number": 3}, ()),
    ],
)
def test_what_a_column_is_made_of(value: Any, names: tuple[str, ...]) -> None:
    assert table_columns(column(value=value)) == names


@pytest.mark.parametrize(
    ("value", "more", "bits"),
    [
        (None, {}, inf),
        (ENDLESS, {}, inf),
        (POSITIVE, {}, 1),
        ({"call": "is_missing", "args": [A]}, {}, 1),
        ({"call": "abs", "args": [POSITIVE]}, {}, 1),
        ({"op": "+", "args": [POSITIVE, POSITIVE]}, {}, 2),
        ({"op": "*", "args": [POSITIVE, {"number": 9}]}, {}, 1),
        ({"op": "*", "args": [POSITIVE, A]}, {}, inf),
        ({"string": "a"}, {}, 0),
        (None, {"shape": "id", "rows": 64}, 6),
        (ENDLESS, {"shape": "id", "rows": 8}, 3),
        (POSITIVE, {"shape": "id", "rows": 64}, 1),
        (POSITIVE, {"shape": "id", "rows": 1}, 0),
        (None, {"shape": "ids", "rows": 8}, None),
        (None, {"shape": "ids", "rows": 7, "encoders": SEQUENCE}, 15),
        (None, {"shape": "ids", "rows": None, "encoders": SEQUENCE}, None),
    ],
)
def test_the_most_bits_of_a_code(value: Any, more: dict[str, Any], bits: float | None) -> None:
    assert code_bits(column(value=value, **more)) == bits


@pytest.mark.parametrize("op", ["==", "!=", "<", "<=", ">", ">=", "and", "or", "not"])
def test_a_condition_has_two_values(op: str) -> None:
    assert op in CONDITIONS and code_bits(column(value={"op": op, "args": [A, B]})) == 1


def test_families_are_folded_where_members_follow_each_other() -> None:
    family = [column(f"C{n}", family="C") for n in range(1, 13)]
    later = [column(f"D{n}", family="D", span=OTHER) for n in (1, 2)]
    # declared apart, though of one name
    apart = [column("E1", family="E"), column("E2", family="E", span=OTHER)]
    alice = party(*family, *later, *apart, column("Age", span=THIRD), column("Age2", span=THIRD))
    for names, shown in (
        ([], []),
        (["C1"], ["C1"]),
        (["C1", "C2"], ["C{1..2}"]),
        (["C8", "C9", "C10", "C11"], ["C{8..11}"]),
        (["C1", "C2", "C4", "C5"], ["C{1..2}", "C{4..5}"]),
        (["C2", "C1"], ["C2", "C1"]),
        (["C1", "C3"], ["C1", "C3"]),
        (["C2", "C2"], ["C2", "C2"]),
        (["Age", "C1", "C2", "Age2"], ["Age", "C{1..2}", "Age2"]),
        (["C11", "D1", "D2"], ["C11", "D{1..2}"]),
        (["C1", "D2"], ["C1", "D2"]),
        (["E1", "E2"], ["E1", "E2"]),
        (["C1", "unknown"], ["C1", "unknown"]),
    ):
        assert folded(names, alice) == shown


# --- sets of secrets -----------------------------------------------------------------------------

AGE, CITY, LIKED = (
    SecretSource("alice", "Age"),
    SecretSource("alice", "City"),
    SecretSource("bob", "liked", label=True),
)


def test_secrets_are_numbered_as_they_come_and_once() -> None:
    secrets, noise, more = Secrets(), guard("noise"), guard("more")
    assert [secrets.bit(AGE), secrets.bit(CITY), secrets.bit(AGE)] == [1, 2, 1]
    assert secrets.bit(AGE, noise) == 4 and secrets.bit(AGE, noise) == 4
    assert [s.source for s in secrets.of(0b111)] == [AGE, CITY, AGE]
    assert [s.behind for s in secrets.of(0b101)] == [None, "noise"] and not list(secrets.of(0))
    behind = secrets.behind(noise, 0b011)
    assert {(s.source, s.behind) for s in secrets.of(behind)} == {(AGE, "noise"), (CITY, "noise")}
    assert secrets.behind(more, behind) == behind, "what is behind a mechanism stays behind that one"
    assert secrets.behind(noise, 0) == 0


def test_flows_join_each_kind_with_its_own() -> None:
    assert _joined([]) == Flows()
    assert _joined([Flows(1, 2, 4), Flows(8, 16, 32)]) == Flows(9, 18, 36)
    assert Flows(1, 2, 4).all == 7


def node(op: str, *inputs: str, **attrs: Any) -> Any:
    return SimpleNamespace(op=op, inputs=inputs, attrs=attrs)


@pytest.mark.parametrize(
    ("read", "found"),
    [
        (node("add", "x", "y"), Flows(9, 18, 36)),
        (node("expand_like", "x", "y"), Flows(1, 2, 4 | 32)),  # of `y` the shape
        (node("expand_like", "y", "x"), Flows(8, 16, 4 | 32)),
        (node("random", "x"), Flows(0, 0, 4)),
        (node("count", "x", axes=(False,)), Flows()),  # how many rows a batch has
        (node("count", "x", axes=(False, True)), Flows(0, 4, 0)),
    ],
)
def test_what_a_node_reads_of_its_inputs(read: Any, found: Flows) -> None:
    assert _joined(_read(read, {"x": Flows(1, 2, 4), "y": Flows(8, 16, 32)})) == found


def test_only_training_has_the_flows_of_training() -> None:
    flow: Any = SimpleNamespace(train="train", inference="inference")
    found = [FlowAnalysis.graph(flow, program) for program in ("train", "evaluate", "predict")]
    assert found == ["train", "inference", "inference"]


# --- bounds --------------------------------------------------------------------------------------

COLUMNS = {
    ("alice", "Age"): column("Age"),
    ("alice", "City"): column("City", shape="id", rows=64),
    ("alice", "Tags"): column("Tags", shape="ids", rows=8),
    ("alice", "Rich"): column("Rich", POSITIVE),
    ("bob", "liked"): column("liked", POSITIVE, kind="label"),
}
NOISE, SECOND = guard("noise", 2.0, delta=1e-6), guard("second", 3.0, delta=1e-7)
RUN = guard("run", None, delta=None)  # as strong as the run finds


def secret(name: str, behind: Guard | None = None, of: str = "alice") -> Secret:
    return Secret(SecretSource(of, name), behind.id if behind else None, behind)


@pytest.mark.parametrize(
    ("secrets", "bound"),
    [
        ([], NOTHING),
        ([secret("Age")], ALL),
        ([secret("City")], Bound("code", 6)),
        ([secret("City"), secret("Rich")], Bound("code", 7)),
        ([secret("Tags"), secret("City")], Bound("code", None)),
        ([secret("Tags"), secret("Age")], ALL),
        ([secret("Age", NOISE)], Bound("epsilon", None, 2.0, 1e-6)),
        ([secret("Age", NOISE), secret("City", NOISE)], Bound("epsilon", None, 2.0, 1e-6)),
        ([secret("Age", NOISE), secret("Age", SECOND)], Bound("epsilon", None, 5.0, 1.1e-6)),
        ([secret("Age", RUN), secret("Age", NOISE)], Bound("epsilon", None, None, 1e-6)),
        ([secret("Age", guard("pure", 2.0))], Bound("epsilon", None, 2.0, 0.0)),
        ([secret("City", NOISE), secret("City")], Bound("code", 6)),
        ([secret("City", NOISE), secret("Rich")], Bound("code", 7)),
        ([secret("Age", NOISE), secret("Rich")], ALL),
    ],
)
def test_the_bound_of_secrets_together(secrets: list[Secret], bound: Bound) -> None:
    found = bound_of(secrets, COLUMNS)
    assert found == Bound(bound.kind, bound.bits, bound.epsilon, pytest.approx(bound.delta))


def test_codes_bound_what_is_guarded_too() -> None:
    assert codes_of([secret("City", NOISE), secret("City", SECOND)], COLUMNS) == Bound("code", 6)
    assert codes_of([secret("Age", NOISE)], COLUMNS) == ALL


@pytest.mark.parametrize(
    ("bound", "words", "sentence"),
    [
        (NOTHING, "nothing", "nothing of b.y"),
        (ALL, "all", "all of b.y"),
        (Bound("rows"), "which rows are common", "which rows are common"),
        (Bound("code"), "its code", "the code of b.y"),
        (Bound("code", 0.5), "its code (0.5 bits a row)", "the code of b.y (0.5 bits a row)"),
        (Bound("code", 1), "its code (1 bit a row)", "the code of b.y (1 bit a row)"),
        (Bound("code", log2(5)), "its code (2.322 bits a row)", "the code of b.y (2.322 bits a row)"),
        (Bound("epsilon", None, 2.0), "ε = 2", "b.y within ε = 2"),
        (Bound("epsilon", None, 0.5, 1e-6), "ε = 0.5, δ = 1e-06", "b.y within ε = 0.5, δ = 1e-06"),
        (Bound("epsilon"), "the ε that the run reports", "b.y within the ε that the run reports"),
    ],
)
def test_bounds_in_words(bound: Bound, words: str, sentence: str) -> None:
    assert str(bound) == words and bound.of("b.y") == sentence


# --- grants --------------------------------------------------------------------------------------


def bound(kind: BoundKind, amount: float | None = None) -> Bound:
    return Bound("code", amount) if kind == "code" else Bound(kind, None, amount)


@pytest.mark.parametrize(
    ("learned", "granted", "within"),
    [
        (ALL, {}, True),
        (bound("epsilon", 2), {"epsilon": 2}, True),
        (bound("epsilon", 2 + 1e-12), {"epsilon": 2}, True),  # sums of decimals are not decimals
        (bound("epsilon", 2.001), {"epsilon": 2}, False),
        (bound("epsilon", 1), {"epsilon": 2}, True),
        (bound("epsilon"), {"epsilon": 2}, False),
        (bound("code", 1), {"epsilon": 2}, False),
        (ALL, {"epsilon": 2}, False),
        (bound("code", 6), {"bits": 6}, True),
        (bound("code", 6 + 1e-12), {"bits": 6}, True),
        (bound("code", 6.001), {"bits": 6}, False),
        (bound("code"), {"bits": 6}, False),
        (bound("epsilon", 1), {"bits": 6}, False),
        (ALL, {"bits": 6}, False),
    ],
)
def test_what_is_within_a_grant(learned: Bound, granted: dict[str, float], within: bool) -> None:
    assert _within(learned, Grant("alice", "bob", "Age", SPAN, **granted)) is within


@pytest.mark.parametrize(
    ("learned", "granted", "label", "says"),
    [
        (bound("epsilon", 4), {"epsilon": 2}, True, "ask the mechanism for ε = 2 or less"),
        (ALL, {"epsilon": 2}, True, "protect alice.Age with label_dp(epsilon = 2)"),
        (ALL, {"epsilon": 2}, False, "protect VALUE with gaussian(clip = 1.0, epsilon = 2)"),
        (bound("code", 9), {"bits": 2}, True, "encode it into fewer codes"),
    ],
)
def test_what_would_help(learned: Bound, granted: dict[str, float], label: bool, says: str) -> None:
    assert says in _cheaper(learned, Grant("alice", "bob", "Age", SPAN, **granted), label)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(1, "1"), (2, "1 and 2"), (3, "1, 2 and 3"), (6, "1, 2, 3, 4, 5 and 6"),
     (7, "1, 2, 3, 4, 5 and 2 more")],
)  # fmt: skip
def test_names_in_a_sentence(count: int, shown: str) -> None:
    assert listed([str(n + 1) for n in range(count)]) == shown


def test_programs_in_the_words_of_the_language() -> None:
    assert _phases(()) == ""
    assert _phases(("train", "predict")) == " in training and prediction"


def test_ways_from_a_column_by_its_name_and_by_what_it_is_made_of() -> None:
    """`Rich` is computed from the table's column `A`."""
    city, rich = Route("city", "train"), Route("rich", "predict")
    reaching = {secret("City"): (city,), secret("Rich"): (rich,), secret("liked", of="bob"): (city,)}
    assert _ways(reaching, "alice", COLUMNS) == {"City": [city], "Rich": [rich], "A": [rich]}


def test_who_denies_a_column_denies_what_it_is_computed_from() -> None:
    assert _kin("Rich", "alice", COLUMNS) == ("Rich", "A")
    assert _kin("City", "alice", COLUMNS) == ("City",)
    assert _kin("A", "alice", COLUMNS) == ("A",), "the table has it, the spec does not name it"


# --- what reaches a place ------------------------------------------------------------------------


def test_of_many_edges_the_first_of_each_program_are_named() -> None:
    programs: tuple[Program, ...] = ("train", "predict")
    ways = [Route(f"e{n}", program) for n in range(NAMED + 6) for program in programs]
    found = list(_named(ways))
    assert NAMED == 64 and found == ways[: 2 * NAMED]


@pytest.mark.parametrize(("row_size", "told"), [(None, 7), (3, 3)])
def test_how_many_numbers_there_are_tells_where_it_varies(row_size: int | None, told: int) -> None:
    values = {"a": SimpleNamespace(type=SimpleNamespace(row_size=row_size))}
    edges = [SimpleNamespace(id=to, node="a", target=to, programs=("train",)) for to in ("bob", "hub")]
    train = SimpleNamespace(patience=None, best=False, held_out=None)
    model: Any = SimpleNamespace(edges=edges, train=train, graph_of=lambda program: values)
    flow: Any = SimpleNamespace(graph=lambda program: {"a": Flows(3, 2, 6)})
    assert list(_crossings(model, flow, "bob")) == [(told, Route("bob", "train"))]


def test_places_together_learn_what_each_does_of_others() -> None:
    age, liked = secret("Age"), secret("liked", of="bob")
    one, two, three = Route("one", "train"), Route("two", "train"), Route("three", "predict")
    reaching = {"hub": {age: (one, two), liked: (one,)}, "bob": {age: (two, three)}, "carol": {age: (three,)}}
    assert together(reaching, ("hub", "bob")) == {"hub+bob": {age: (one, two, three)}}


def test_mechanisms_spend_on_names_and_on_columns_of_the_table() -> None:
    alice = party(column("Rich", POSITIVE), column("City", shape="id", rows=64))
    secrets = [secret("Rich", NOISE), secret("Rich", SECOND), secret("Rich"), secret("City", NOISE)]
    found = spends(
        SimpleNamespace(parties=[alice]), {"bob": dict.fromkeys(secrets, ()), "hub": {secret("City"): ()}}
    )
    assert found == (
        Spend("bob", "alice", "Rich", ("noise", "second")),
        Spend("bob", "alice", "A", ("noise", "second")),
        Spend("bob", "alice", "City", ("noise",)),
    )


@pytest.mark.parametrize(
    ("node", "id", "named"),
    [
        ("a", "a", True),
        ("a", "other", True),
        ("value", "other", True),
        ("a.dense", "other", True),
        ("other", "a", True),
        ("ab", "other", False),
        ("value.dense", "other", False),
    ],
)
def test_an_edge_is_named_by_its_value_and_by_what_is_made_under_a_name(
    node: str, id: str, named: bool
) -> None:
    edge: Any = SimpleNamespace(node=node, id=id)
    assert is_edge(edge, "a", ("value",)) is named
