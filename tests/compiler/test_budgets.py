"""A few lines that describe more than any machine holds: refused early, at the user's text.

Every case here took minutes or gigabytes, or ended as a defect, before there was a budget. What is
counted are the steps of the compiler, not seconds: each budget is far below what these ask for.
"""

from __future__ import annotations

import pytest

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.diagnostics.diagnostic import MOST_ERRORS
from vflc.diagnostics.suggest import did_you_mean
from vflc.driver import check_source
from vflc.ir.budget import MOST_COLUMNS, MOST_FLOWS, MOST_FREE, MOST_NODES, MOST_TERMS
from vflc.passes.lower.operators import LARGEST, MOST_ITEMS

HEAD = """
party alice {
  key ID
  feature Age:  float  -> standardize
  feature City: string -> hash(10)
}
party bob {
  key ID
  column Rating: int
  label  liked = Rating > 3
}
"""
TAIL = """
logit = dense(mlp(h, [8]), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
"""


def said(body: str, head: str = HEAD, tail: str = TAIL) -> list[tuple[str, str, str]]:
    """Code, message and underlined text of every finding; nothing is granted here."""
    found = check_source(SourceText("x.vfl", head + body + tail))
    errors = [d for d in found if d.level != "warning" and d.code != "VFL0340"]
    return [(d.code, d.message, d.span.text if d.span else "") for d in errors]


def doubled(leaf: str, levels: int = 40) -> str:
    blocks = "".join(
        f"block B{i + 1}(x) {{\n  a = B{i}(x)\n  b = B{i}(x)\n  return a + b\n}}\n" for i in range(levels)
    )
    return f"block B0(x) {{ return {leaf} }}\n{blocks}h = B{levels}(alice.Age)\n"


def powers(operator: str, start: str = "2 ** 62") -> str:
    chain = "".join(f"z{i + 1} = z{i} {operator} z{i}\n" for i in range(60))
    return f"z0 = {start}\n{chain}h = mlp(alice.Age, [z60])\n"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (doubled("mlp(x, [8])"), "VFL0206", "more than"),
        (doubled("x"), "VFL0206", "more than"),
        ("block A(x) {\n  a = A(x)\n  b = A(x)\n  return a + b\n}\nh = A(alice.Age)", "VFL0103", "`A`"),
        (
            "block A(x, n) { return where(n == 0, x, A(x, n - 1) + A(x, n - 1)) }\nh = A(alice.Age, 40)",
            "VFL0206",
            "expressions",
        ),
        ("h = mlp(alice.Age, [2_000_000_000, 8])", "VFL0206", "2,000,000,000 numbers a row"),
        ("h = dense(alice.Age, 10 ** 18)", "VFL0206", "GiB in float32"),
        ("h = embed(alice.City, dim = 1_000_000_000_000)", "VFL0206", "GiB in float32"),
        ("h = mlp(alice.Age, [4_000_000 for i in 1..3])", "VFL0206", "GiB in float32"),
        ("h = mlp(alice.Age, [8 for i in 0..10 ** 12])", "VFL0206", "a range"),
        (f"h = mlp(alice.Age, [8 for i in 1..{MOST_NODES // 2}])", "VFL0206", "operations"),
        ("h = mlp(alice.Age, [2 ** 10 ** 9])", "VFL0205", "exponent"),
        ("z = 2 ** 62\nh = mlp(alice.Age * (z * z), [8])", "VFL0205", "63 bits"),
        (powers("*"), "VFL0205", "63 bits"),
        (powers("+"), "VFL0205", "63 bits"),
        (powers("+", '"' + "a" * 60 + '"'), "VFL0206", "letters"),
        (powers("+", "[1..1000]"), "VFL0206", "items"),
        (f"z = [1..{MOST_ITEMS}, 1..{MOST_ITEMS}]\nh = mlp(alice.Age, z)", "VFL0206", "items"),
        ("h = mlp(alice.Age, [[1 for k in 1..10000] for j in 1..10000])", "VFL0206", "expressions"),
        ("h = mlp(concat(alice.C{1..1_000_000_000}), [8])", "VFL0013", "1000000000"),
        ("h = alice.Age * " + "9" * 20, "VFL0205", "63 bits"),
        ("h = mlp(alice.Age * (1e30 * 1e30), [8])", "VFL0205", "3.4e38"),
    ],
)
def test_it_ends_at_a_budget(body: str, code: str, message: str) -> None:
    found = said(body)
    assert found[0][0] == code and message in found[0][1], found[:3]
    assert found[0][2] and found[0][2] in body, "at the user's own text"


def test_tables_of_many_rows() -> None:
    (found,) = said("h = mlp(embed(alice.City, dim = 64), [8])", HEAD.replace("(10)", "(2_000_000_000)"))
    message = "the weights would take 477 GiB in float32; the limit is 64 GiB"
    assert found == ("VFL0206", message, "embed(alice.City, dim = 64)")
    assert said("h = mlp(embed(alice.City, dim = 8), [8])", HEAD.replace("(10)", "(200_000_000)")) == []


def test_columns_of_all_parties_together() -> None:
    families = "".join(f"  feature F{i}_{{1..{MOST_COLUMNS // 2}}}: float\n" for i in range(500))
    (found,) = said("h = alice.Age", HEAD.replace("  key ID\n", f"  key ID\n{families}", 1))
    assert found[:2] == ("VFL0206", f"the spec has more than {MOST_COLUMNS:,} columns")


def test_sums_of_columns_one_after_another() -> None:
    count = 2_500
    assert count**2 / 2 > MOST_FLOWS
    head = HEAD.replace("  key ID\n", f"  key ID\n  feature C{{1..{count}}}: float\n", 1)
    chain = "z1 = alice.C1\n" + "".join(f"z{i} = z{i - 1} + alice.C{i}\n" for i in range(2, count + 1))
    (found,) = said(f"{chain}h = z{count}", head)
    assert found[0] == "VFL0206" and "computed from" in found[1]


def test_values_whose_place_is_left_open() -> None:
    head = HEAD.replace("column Rating", "feature Price: float\n  column Rating")
    chain = "x0 = mlp(alice.Age, [4])\nz0 = mlp(bob.Price, [4])\n" + "".join(
        f"x{i + 1} = tanh(x{i} + z{i})\nz{i + 1} = sigmoid(z{i} * x{i})\n" for i in range(MOST_FREE // 2)
    )
    (found,) = said(f"{chain}h = x{MOST_FREE // 2}", head)
    assert found[:2] == ("VFL0206", f"more than {MOST_FREE:,} values may be computed at alice or bob")
    assert found[2] in chain


def test_terms_and_predictions() -> None:
    more = "".join(f"objective {i} * bce(logit, bob.liked)\n" for i in range(1, MOST_TERMS + 2))
    assert [f[1] for f in said("h = alice.Age", tail=TAIL + more)] == [
        f"the objective has more than {MOST_TERMS} terms"
    ]
    more = "".join(f"predict p{i} = sigmoid(logit)\n" for i in range(MOST_TERMS + 1))
    assert [f[1] for f in said("h = alice.Age", tail=TAIL + more)] == [
        f"the spec has more than {MOST_TERMS} predictions"
    ]


def test_lists_of_one_list_twice() -> None:
    lists = "s0 = [alice.Age]\n" + "".join(f"s{i + 1} = [s{i}, s{i}]\n" for i in range(60))
    tail = TAIL + 'accept VFL0302 on s60 because "a test, no more"\n'
    found = said(lists + "h = mlp(alice.Age, [4])\n", tail=tail)
    assert [code for code, *_ in found] == ["VFL0307"]


def test_names_that_need_one_another_backwards() -> None:
    chain = "".join(f"z{i} = z{i - 1} + 1\n" for i in range(3_000, 1, -1))
    (found,) = said(f"{chain}z1 = alice.Age\nh = z3000")
    assert found[:2] == ("VFL0206", "the definitions depend on each other through too many levels") and found[
        2
    ].startswith("z")


@pytest.mark.parametrize(
    "body",
    [
        "".join(f"y{i} = qq{i}\n" for i in range(10_000)),
        "y = 1\n" * 20_000,
        "".join(f"y{i} = mlp(alice.Age, a{i} = 1)\n" for i in range(3_000)),
    ],
    ids=["unknown", "twice", "arguments"],
)
def test_a_hundred_errors_are_enough(body: str) -> None:
    found = said(body + "h = alice.Age")
    assert len(found) == MOST_ERRORS + 1
    assert {code for code, *_ in found} >= {"VFL0017"}


def test_strays_are_placed_without_a_walk_for_each() -> None:
    found = check_source(SourceText("x.vfl", "@;!&|^" * 30_000))
    assert len(found) == MOST_ERRORS + 1


def test_a_finding_is_collected_once_and_the_rest_counted() -> None:
    collector = DiagnosticCollector()
    for number in range(3 * MOST_ERRORS):
        collector.error("VFL0001", f"mistake {number // 2}")
        collector.warning("VFL0325", "the same warning")
    assert len(collector.errors) == MOST_ERRORS and collector.full
    assert [d.code for d in collector.diagnostics].count("VFL0325") == 1
    assert collector.diagnostics[-1].code == "VFL0017"


def test_the_nearest_of_many_names() -> None:
    names = [f"column_{i}" for i in range(50_000)] + ["Rating"]
    assert did_you_mean("Ratng", names) == "Rating"
    assert did_you_mean("rating", names) == "Rating"
    assert did_you_mean("xyz", names) is None


def test_what_is_large_and_meant_is_not_refused() -> None:
    numbers = HEAD.replace("  key ID\n", "  key ID\n  feature C{1..2000}: float\n", 1)
    assert said("h = mlp(concat(alice.numbers), [512, 256])", numbers) == []
    assert said(f"h = mlp(alice.Age * {LARGEST - 1}, [8])") == []
