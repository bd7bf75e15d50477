"""encoders.json as nobody vouches for it: what does not hold together is refused as the bundle is opened."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_common.encoders import ENCODERS
from vflc_common.words import ENCODERS_FILE
from vflc_runtime.bundle.columns import check_columns
from vflc_runtime.bundle.contents import Contents
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.generate import generate
from vflc_runtime.errors import Failure

WHERE = {"file": "m.vfl", "line": 3, "column": 1, "end_column": 9, "text": "  feature a: int"}


def column(name: str, *encoders: dict[str, Any], **more: Any) -> dict[str, Any]:
    plain = {"name": name, "kind": "feature", "type": "string", "where": WHERE}
    return {**plain, "encoders": [*encoders], **more}


def vocab(*values: Any, default: Any = None) -> dict[str, Any]:
    return {"name": "vocab", "values": [*values], "default": default}


CODES = column("a", vocab("x", "y", default="other"), shape="id", rows=3)
TAGS = column(
    "tags",
    {"name": "split", "separator": "|"},
    {"name": "hash", "buckets": 9, "salt": None},
    {"name": "sequence", "max": 3},
    shape="ids",
    rows=9,
)
AGE = column("age", {"name": "standardize", "mean": None, "std": None}, type="int", shape="number")
OLD = {
    "name": "old", "kind": "label", "shape": "number", "encoders": [],
    "value": {"op": "and", "args": [
        {"op": ">", "args": [{"column": "age"}, {"number": 30}]},
        {"op": "not", "args": [{"call": "is_missing", "args": [{"column": "a"}]}]},
    ]},
}  # fmt: skip
WHOLE = {"parties": {"p": {"key": "ID", "where": WHERE, "columns": [CODES, TAGS, AGE, OLD]}}}


def check(document: Any) -> None:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    check_columns(Contents(Path("bundle/p"), {ENCODERS_FILE: text}), ())


def test_what_holds_together_is_read_and_encoded() -> None:
    check(WHOLE)
    data = Dataset.load(WHOLE, generate(WHOLE, 40, 1))
    assert data.inputs["p.tags"].shape == (data.rows, 3)


def at(*path: Any, **changes: Any) -> Callable[[Any], object]:
    """An edit of what lies at the end of a path below the columns."""

    def edit(document: Any) -> None:
        part = document["parties"]["p"]["columns"]
        for step in path:
            part = part[step]
        part.update(changes)

    return edit


def without(*path: Any, key: str) -> Callable[[Any], object]:
    def edit(document: Any) -> None:
        part = document["parties"]["p"]["columns"]
        for step in path:
            part = part[step]
        del part[key]

    return edit


CHAIN = (0, "encoders", 0)
WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "no encoder": (at(*CHAIN, name="exec"), "expected one of balanced, bucketize"),
    "a path": (at(*CHAIN, name="../../os"), "expected one of balanced"),
    "a module": (at(*CHAIN, name="__init__"), "expected one of balanced"),
    "no name": (at(*CHAIN, name=None), "expected a text"),
    "a strange setting": (at(*CHAIN, code="1"), "expected no code"),
    "a setting that lacks": (without(*CHAIN, key="values"), "`vocab` needs values"),
    "no values": (at(*CHAIN, values=[]), "`values` of `vocab` must be a list"),
    "values of no table": (at(*CHAIN, values=[["x"]]), "`values` of `vocab` must be a list"),
    "a value twice": (at(*CHAIN, values=["x", "x"]), "the vocabulary has a value twice"),
    "a default of nowhere": (at(*CHAIN, default={"value": "z"}), "the default must be one of the values"),
    "a strange default": (at(*CHAIN, default=["x"]), "`default` of `vocab` must be one of the values"),
    "a number for a text": (at(*CHAIN, name="index", n=2), "expected no values"),
    "too many buckets": (at(1, "encoders", 1, buckets=2**31), "`buckets` of `hash` must be a whole number"),
    "buckets of text": (at(1, "encoders", 1, buckets="9"), "`buckets` of `hash` must be a whole number"),
    "buckets of truth": (at(1, "encoders", 1, buckets=True), "`buckets` of `hash` must be a whole number"),
    "half a bucket": (at(1, "encoders", 1, buckets=9.5), "`buckets` of `hash` must be a whole number"),
    "salt of three": (at(1, "encoders", 1, salt=[1, 2, 3]), "`salt` of `hash` must be"),
    "a wide row": (at(1, "encoders", 2, max=10**12), "`max` of `sequence` must be a whole number"),
    "nothing between": (at(1, "encoders", 0, separator=""), "`separator` of `split` must be text"),
    "no deviation": (at(2, "encoders", 0, std=0), "`std` must be above 0"),
    "endless": (at(2, "encoders", 0, mean=float("inf")), "`mean` of `standardize` must be a number"),
    "too large": (at(2, "encoders", 0, mean=10**400), "`mean` of `standardize` must be a number"),
    "text for a number": (at(2, type="string"), "an encoder of string"),
    "rows of a number": (at(2, rows=7), "rows as its encoders give, None"),
    "more rows": (at(0, rows=4), "rows as its encoders give, 3"),
    "another shape": (at(0, shape="number"), "what its encoders give, id"),
    "no type": (without(0, key="type"), "'type' is missing"),
    "a strange type": (at(0, type="blob"), "expected one of string, int, float"),
    "a group that is encoded": (at(0, kind="group", shape="id"), "expected a group: string or int"),
    "a strange kind": (at(0, kind="key"), "expected one of feature, label, weight, group, column"),
    "no chain": (at(0, encoders={"name": "strip"}), "expected a list"),
    "a place below zero": (at(0, where={**WHERE, "line": -1}), "expected an integer of at least 1"),
    "a place without a text": (at(0, where={**WHERE, "text": 3}), "expected a text"),
    "a place that is none": (at(0, where=[]), "expected an object"),
    "a column of nowhere": (at(3, value={"column": "secret"}), "expected one of a, tags, age"),
    "a column of itself": (at(3, value={"column": "old"}), "expected one of a, tags, age"),
    "a strange operator": (at(3, value={"op": "import", "args": []}), "expected one of neg, not"),
    "a strange function": (at(3, value={"call": "eval", "args": [{"string": "1"}]}), "expected one of floor"),
    "arguments too few": (at(3, value={"op": "+", "args": [{"number": 1}]}), "expected two arguments"),
    "arguments too many": (at(3, value={"op": "neg", "args": [{"number": 1}] * 2}), "expected one argument"),
    "no argument": (at(3, value={"op": "neg"}), "'args' is missing"),
    "no number": (at(3, value={"number": "1"}), "expected a number"),
    "no text": (at(3, value={"string": 1}), "expected a text"),
    "nothing": (at(3, value={}), "'op' is missing"),
}  # fmt: skip


@pytest.mark.parametrize("how", WRONG)
def test_what_does_not_hold_together(how: str) -> None:
    edit, says = WRONG[how]
    document = copy.deepcopy(WHOLE)
    edit(document)
    with pytest.raises(Failure) as refused:
        check(document)
    assert refused.value.code == "VFL0613" and says in refused.value.message, refused.value


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b'{"parties": []}', b'{"parties": {"p": {}}}'])
def test_what_is_no_document(content: bytes) -> None:
    with pytest.raises(Failure, match="VFL0613"):
        check(content)


def test_an_expression_without_end() -> None:
    tree = b'{"op": "neg", "args": [' * 700 + b'{"number": 1}' + b"]}" * 700
    document = json.dumps(WHOLE).encode().replace(json.dumps(OLD["value"]).encode(), tree)
    assert tree in document
    with pytest.raises(Failure, match="VFL0613"):
        check(document)


THINGS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just([]), st.just({})
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ENCODERS.ours), st.sampled_from(["string", "int", "float"]), st.data())
def test_whatever_settings_are_refused_or_encode(name: str, type: str, data: st.DataObject) -> None:
    """Settings of any kind end in a refusal, at the bundle or at the data, and never in a traceback."""
    record = ENCODERS[name]
    values = THINGS | st.integers(-3, 9) | st.lists(THINGS | st.integers(-3, 9), max_size=3)
    chosen = {p.name: data.draw(values) for p in record.parameters}
    kind = record.after(type)
    shape = {"id": "id", "ids": "ids"}.get(kind, "number")
    encoder = {"name": name, **chosen}
    right = type in record.reads and record.mistake(encoder, type) is None
    given = column("c", encoder, type=type, shape=shape, rows=record.count(encoder) if right else None)
    document = {"parties": {"p": {"key": "ID", "columns": [given]}}}
    try:
        check(json.dumps(document).encode())
        Dataset.load(document, generate(document, 5, 0))
    except Failure as failure:
        assert failure.code in ("VFL0613", "VFL0603", "VFL0604", "VFL0610", "VFL0506")
