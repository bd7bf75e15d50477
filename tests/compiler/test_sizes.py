"""Sizes that the data decides: the manifest says which edges tell them, of which columns."""

from __future__ import annotations

import json

import pytest
from granting import granted

from vflc.cli.crossings import crossing
from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """
party alice {
  key ID
  feature Tags:  string -> split(" ") -> hash(100)
  feature Words: string -> split(" ") -> hash(100)
  feature Age:   float
}
party bob {
  key ID
  label liked: int
}
x = VALUE
logit = dense(x, 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
"""
OPEN = "dense(lookup(table(100, 4), alice.Tags), 3)"


@pytest.mark.parametrize(
    ("value", "at_bob", "told"),
    [
        (OPEN, "sum(x, axis = value)", {"x": ["alice.Tags"], "x.gradient": ["alice.Tags"]}),
        (f"{OPEN} * sum(embed(alice.Words, dim = 1))", "sum(x, axis = value)",
         {"x": ["alice.Tags"], "x.gradient": ["alice.Tags"]}),
        (f"sum({OPEN}, axis = value)", "x", {}),
        ("dense(embed(alice.Tags, dim = 4), 3)", "x", {}),
    ],
)  # fmt: skip
def test_open_sizes_are_listed_with_their_columns(
    value: str, at_bob: str, told: dict[str, list[str]]
) -> None:
    text = SPEC.replace("VALUE", value).replace("dense(x, 1)", f"dense({at_bob}, 1)")
    files = compile_source(SourceText("spec.vfl", granted(text))).files
    manifest, page = json.loads(files["manifest.json"]), files["manifest.md"].decode()
    assert {edge["id"]: edge["sized_by"] for edge in manifest["edges"] if edge["sized_by"]} == told
    assert all(bool(edge["bytes_per_row"]) != bool(edge["sized_by"]) for edge in manifest["edges"])
    assert ("## Sizes that the data decides" in page) == bool(told)
    said = "the largest number of values in a row of alice.Tags: revealed by the size of `x`, `x.gradient`"
    assert (said in page) == bool(told)
    assert ("size depends on the data" in crossing(manifest, 100)) == bool(told)
