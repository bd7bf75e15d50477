"""One mistake in the text gives one finding: nothing is said to be missing that could not be read."""

from __future__ import annotations

import pytest

from vflc.diagnostics import SourceText
from vflc.driver import check_source

SPEC = """party alice {
  key phone
  feature Age: float -> missing(0) -> standardize
  feature City: string -> missing("") -> hash(50)
  column Salary: float
  feature Log = log(Salary + 1) -> standardize
}
party bob {
  key phone
  feature Price{1..3}: float -> missing(0) -> standardize
  column Rating: int
  label liked = Rating > 3
}
block Tower(x, width = 8) {
  h = mlp(x, [width])
  return h
}
DIM = 4
a = Tower(flatten(embed(alice.features, dim = DIM)))
fuse at bob {
  logit = dense(mlp(concat(a, bob.Price{1..3}), [8]), 1)
}
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
release alice {
  to bob: Age, City, Log
}
train {
  batch 16
  epochs 2
}
release bob { to alice: Price1, Price2, Price3, liked }
"""


def found(text: str) -> list[str]:
    return [f"{d.code} {d.message}" for d in check_source(SourceText("x.vfl", text)) if d.level == "error"]


def test_the_spec_has_no_mistake_of_its_own() -> None:
    assert not [finding for finding in found(SPEC) if "VFL00" in finding or "VFL01" in finding]


@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        ("key phone\n  feature Age", "key tel, day\n  feature Age", "VFL0113"),
        ("key phone\n  feature Age", "ky phone\n  feature Age", "VFL0001"),
        ("key phone\n  feature Age", "key\n  feature Age", "VFL0001"),
        ("party alice", "party", "VFL0001"),
        ("party bob", "party bob carol", "VFL0001"),
        ("party bob", "party party bob", "VFL0001"),
        ("party bob {", "party bob", "VFL0002"),
        ("fuse at bob {", "fuse at bob", "VFL0002"),
        ("train {", "train", "VFL0002"),
        ("release alice {", "release alice", "VFL0002"),
        ("column Salary: float", "Salary: float", "VFL0001"),
        ("column Salary: float", "colum Salary: float", "VFL0001"),
        ("column Salary: float", "column: float", "VFL0001"),
        ("column Rating: int", "column Rating int", "VFL0001"),
        ("label liked = Rating > 3", "label liked = Rating >", "VFL0001"),
        ("label liked = Rating > 3", "label liked == Rating > 3", "VFL0001"),
        ("feature Price{1..3}: float", "feature Price{1..3} float", "VFL0001"),
        ("feature Price{1..3}: float", "feature Price{3..1}: float", "VFL0013"),
        ("block Tower(x, width = 8)", "block (x, width = 8)", "VFL0001"),
        ("block Tower(x, width = 8)", "block block Tower(x, width = 8)", "VFL0001"),
        ("h = mlp(x, [width])", "h = = mlp(x, [width])", "VFL0001"),
        ("DIM = 4", "DIM 4", "VFL0001"),
        ("DIM = 4", "= 4", "VFL0001"),
        ("a = Tower(flatten", "a = 3 Tower(flatten", "VFL0001"),
        ("predict liked = ", "predct liked = ", "VFL0001"),
        ("objective bce", "objective, bce", "VFL0001"),
        ("objective bce", "objectiv bce", "VFL0001"),
        ("batch 16", "batch = 16", "VFL0001"),
    ],
)
def test_a_typo_is_found_and_nothing_beside_it(right: str, wrong: str, code: str) -> None:
    assert SPEC.count(right) == 1
    findings = found(SPEC.replace(right, wrong))
    assert [finding.split()[0] for finding in findings] == [code], findings


def test_what_is_missing_is_said_where_all_could_be_read_and_where_it_was_not_left_out() -> None:
    assert sorted(found("party alice {\n  feature Age: float\n}\n")) == [
        "VFL0109 alice has columns but no key",
        "VFL0109 the spec has no objective",
        "VFL0109 the spec has no prediction",
    ]
    both = found(SPEC.replace("column Rating: int", "column Rating int").replace("dim = DIM", "dim = DIMS"))
    assert [finding.split()[0] for finding in both] == ["VFL0001", "VFL0101"]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ('feature "PT08.S1": float', 'feature "PT08.S1": … as PT08_S1'),
        ("feature PT08.S1(CO): float", 'feature "PT08.S1(CO)": … as PT08_S1_CO'),
        ("key user-id", 'key "user-id"'),
    ],
)
def test_a_name_that_is_none_stands_in_quotes(column: str, says: str) -> None:
    first = check_source(SourceText("x.vfl", f"party alice {{\n  {column}\n}}\n"))[0]
    assert first.code.startswith("VFL00") and says in (first.help or ""), first
