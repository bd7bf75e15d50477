"""An embedding that crosses as it is has the name of its column, in every table; names stay unique."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.driver import compile_source
from vflc.passes.lower import lower
from vflc.passes.pipeline import analysis
from vflc.syntax.parser import parse, read_source

SPEC = """
party alice {
  key ID
  feature user: int -> index(50)
  feature tags: string -> split(" ") -> hash(20)
  feature age:  float
}

party bob {
  key ID
  feature item: int -> index(40)
  feature age:  float
}

party carol { key ID  label y: int }

e     = embed(alice.features + bob.features, dim = 2)
both  = embed([alice.age, bob.age], dim = 3)
near  = square(embed(bob.item, dim = 4))
logit = dense(mlp(concat(flatten(e), flatten(both), near), [64, 8]), 1) at carol
predict y = sigmoid(logit)
objective bce(logit, carol.y)
release alice {
  to carol: user, tags, age
  to bob: user, tags, age
}
release bob {
  to carol: item, age
  to alice: item, age
}
release carol {
  to alice: y
  to bob: y
}
"""


def manifest() -> dict[str, Any]:
    return compile_source(SourceText("model.vfl", SPEC)).manifest


def test_what_crosses_is_named_by_its_column() -> None:
    edges = {edge["id"]: edge for edge in manifest()["edges"]}
    for name in ("e.user", "e.tags", "e.item", "both.age", "both.bob.age", "near"):
        assert name in edges, sorted(edges)
        assert f"{name}.gradient" in edges
        assert len(edges[name]["depends_on"]) == 1
    assert edges["both.bob.age"]["from"] == "bob" and edges["both.age"]["from"] == "alice"
    assert not [name for name in edges if "gather" in name or ".mul" in name]


def test_names_are_unique_and_the_same_each_time() -> None:
    ids = [edge["id"] for edge in manifest()["edges"]]
    assert len(set(ids)) == len(ids) and ids == [edge["id"] for edge in manifest()["edges"]]


@pytest.mark.parametrize("name", ["deepfm", "mmoe", "one_table", "three_parties"])
@pytest.mark.parametrize("push_down", [True, False], ids=["pushed", "written"])
def test_names_do_not_depend_on_how_tables_are_stored(name: str, push_down: bool) -> None:
    """The Keras backend has every table by itself, and speaks of the same edges."""
    source = read_source(Path(__file__).parents[2] / "specs" / name / f"{name}.vfl")
    lowered = lower(parse(source, DiagnosticCollector()), name, None, DiagnosticCollector())
    assert lowered is not None
    fused, apart = (
        analysis(fuse=fuse, protections=False, push_down=push_down).run(lowered, DiagnosticCollector())
        for fuse in (True, False)
    )
    assert [edge.id for edge in fused.edges] == [edge.id for edge in apart.edges]
    assert fused.edges
