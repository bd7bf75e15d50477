"""An encoder chain of constants is looked into once, whatever is checked then: nobody can tell."""

from pathlib import Path

import pytest

from vflc.diagnostics import SourceText
from vflc.driver import check_source
from vflc.passes.lower import encoders

SPEC = """party alice {
  key ID
  feature a: %s
  feature b: %s
}
party bob {
  key ID
  label y: bool
}
BINS = %s
h = dense(flatten(embed([alice.a, alice.b], dim = 2)), 4)
p = dense(h, 1) at bob
predict y = sigmoid(p)
objective bce(p, bob.y)
release alice { to bob: a, b }
release bob { to alice: y }
"""


def told(first: str, second: str, bins: str = "9", folder: Path | None = None) -> list[tuple[str, int]]:
    """Codes and lines, the same once more and without what is known."""
    source = SourceText("spec.vfl", SPEC % (first, second, bins))
    found = check_source(source, folder)
    assert check_source(source, folder) == found
    encoders._known.clear()
    assert check_source(source, folder) == found
    return [(each.code, each.span.line if each.span else 0) for each in found]


def test_a_chain_is_what_it_is_of_each_kind() -> None:
    assert told("int -> hash(9)", "string -> hash(9)") == []
    assert told("int -> standardize -> bucketize(1, 2)", "string -> standardize -> bucketize(1, 2)") == [
        ("VFL0204", 4)
    ]
    assert told("float -> vocab(1..3)", "string -> vocab(1..3)") == [("VFL0204", 3)]
    assert told("int -> vocab(1..3)", "float -> vocab(1..3)") == [("VFL0204", 4)]


def test_a_mistake_is_told_each_time() -> None:
    assert told("int -> hash(0)", "int -> hash(0)") == [("VFL0205", 3), ("VFL0205", 4)]
    assert told("int -> hash(9, 1, 2)", "int -> hash()") == [("VFL0107", 3), ("VFL0107", 4)]


def test_names_are_what_they_are_bound_to() -> None:
    assert told("int -> hash(BINS)", "int -> hash(BINS)") == []
    assert told("int -> hash(BINS)", "int -> hash(9)", "0") == [("VFL0205", 3)]


def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("a\nb\n")
    assert told('string -> vocab("ids.txt")', "int -> hash(9)", folder=tmp_path) == []
    (tmp_path / "ids.txt").write_text("a\na\n")
    first = told('string -> vocab("ids.txt")', "int -> hash(9)", folder=tmp_path)
    (tmp_path / "ids.txt").unlink()
    assert first != told('string -> vocab("ids.txt")', "int -> hash(9)", folder=tmp_path) != []


def test_what_is_known_counts_as_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of expressions is met at the same column, also where it would be met within a chain."""
    lines = []
    for most in range(1, 8):
        monkeypatch.setattr(encoders, "MOST_STEPS", most)
        monkeypatch.setattr("vflc.passes.lower.evaluate.MOST_STEPS", most)
        lines += [
            line for code, line in told("int -> vocab(1, 2, 3)", "int -> vocab(1, 2, 3)") if code == "VFL0206"
        ]
    assert lines[:5] == [3, 3, 4, 4, 4]
