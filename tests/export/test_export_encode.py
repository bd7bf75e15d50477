"""The encoder beside exported models against the runtime's own, which it shares no code with."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import farmhash
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_common import hashes
from vflc_common.encoders import ENCODERS
from vflc_common.encoders.lower import lower
from vflc_common.encoders.strip import strip
from vflc_common.hashes import fingerprint64
from vflc_common.siphash import siphash
from vflc_runtime.data import expressions
from vflc_runtime.data.chain import EncoderChain
from vflc_runtime.errors import Failure
from vflc_runtime.export import encode as export_encode
from vflc_runtime.export.description import _column as described
from vflc_runtime.export.description import describe, encoded  # noqa: F401
from vflc_runtime.export.encode import RefusedValue
from vflc_runtime.export.raw import RawFeature
from vflc_runtime.export.standalone import source, steps

PAGE = Path(__file__).parents[2] / "docs" / "exports.md"
VECTOR = re.compile(r"^\| (?:`(.*)`|\(empty\)) \| (\d+) \| (\d+) \|$", re.MULTILINE)
ARROW = {"string": pa.string(), "int": pa.int64(), "float": pa.float64()}


def test_it_imports_the_standard_library_alone() -> None:
    tree = ast.parse(source([]))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_it_knows_all_that_the_runtime_knows() -> None:
    assert all(f"    {encoder.name!r}: (" in source([]) for encoder in ENCODERS)
    calls = {*export_encode.TEXT, *export_encode.NUMBERS, *export_encode.COMPARED}
    calls |= {"is_missing", "and", "or", "cross"}
    assert {*expressions.CALLS, *expressions.OPERATORS} <= calls


@given(
    st.text(max_size=200) | st.binary(max_size=400).map(lambda b: b.hex()),
    st.tuples(*[st.integers(0, 2**64 - 1)] * 2),
)
def test_hashes_are_those_of_the_runtime(text: str, key: tuple[int, int]) -> None:
    data = text.encode()
    assert fingerprint64(data) == farmhash.fingerprint64(text)
    assert hashes.siphash(data, *key) == int(siphash([data], *key)[0])


def test_hashes_of_the_page() -> None:
    vectors = VECTOR.findall(PAGE.read_text("utf-8"))
    assert len(vectors) == 10
    for text, farm, sip in vectors:
        assert int(farm) == farmhash.fingerprint64(text) == fingerprint64(text.encode())
        assert int(sip) == int(siphash([text.encode()], 133, 137)[0])


def test_white_space_and_cases_are_those_of_the_runtime() -> None:
    """Of every character that Python's Unicode knows."""
    every = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF]
    texts = pa.array([f"{c}a{c}" for c in every])
    assert pa.compute.utf8_trim_whitespace(texts).to_pylist() == [strip(f"{c}a{c}", {}) for c in every]
    cased = [c for c in every if c.isupper() or c.lower() != c]
    lowered = pa.compute.utf8_lower(pa.array(cased)).to_pylist()
    assert lowered == [lower(c, {}) for c in cased]
    assert lower("ΟΔΟΣ İ", {}) == pa.compute.utf8_lower(pa.array(["ΟΔΟΣ İ"]))[0].as_py()


def encode(description: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return export_encode.encode(description, rows, steps(ENCODERS.ours))


# --- chains -----------------------------------------------------------------------------------------------

WORDS = ["a", "b", "A", " a", "é", "É ", "", "a|b", "|", "b||c ", "7", "07", "x"]
DEFAULTS = st.sampled_from([None, "other", "first"])
WORD_STEPS = [
    {"name": "lower"},
    {"name": "lower", "letters": "ascii"},
    {"name": "remove", "characters": "-É].^"},
]
TEXT_STEPS = st.sampled_from(
    [
        {"name": "strip"},
        *WORD_STEPS,
        {"name": "missing", "value": "a"},
        {"name": "missing", "value": " B"},
    ]
)
NUMBER_STEPS = st.one_of(
    st.builds(lambda v: {"name": "missing", "value": v}, st.sampled_from([0, 1, -2.5])),
    st.builds(lambda m, s: {"name": "standardize", "mean": m, "std": s}, st.floats(-9, 9), st.floats(0.1, 9)),
    st.builds(lambda l, w: {"name": "minmax", "low": l, "high": l + w}, st.floats(-9, 9), st.floats(0.1, 9)),
    st.just({"name": "log1p"}),
    st.builds(lambda f: {"name": "scale", "factor": f}, st.floats(-9, 9)),
    st.builds(lambda l, w: {"name": "clip", "low": l, "high": l + w}, st.floats(-9, 9), st.floats(0, 9)),
)


@st.composite
def lookups(draw: st.DrawFn, values: list[Any]) -> dict[str, Any]:
    kind = draw(st.sampled_from(["vocab", "hash", "salted"]))
    if kind != "vocab":
        salt = draw(st.integers(0, 2**64 - 1) | st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2))
        return {
            "name": "hash",
            "buckets": draw(st.integers(1, 9)),
            "salt": salt if kind == "salted" else None,
        }
    listed = draw(st.lists(st.sampled_from(values), min_size=1, max_size=5, unique=True))
    default = draw(DEFAULTS)
    return {
        "name": "vocab",
        "values": listed,
        "default": {"value": listed[0]} if default == "first" else default,
    }


@st.composite
def text_chains(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]], str]:
    chain = draw(st.lists(TEXT_STEPS, max_size=3))
    if not draw(st.booleans()):
        return "string", [*chain, draw(lookups(WORDS))], "id"
    pieces = draw(st.lists(st.sampled_from([{"name": "strip"}, *WORD_STEPS]), max_size=2))
    cut = draw(st.sampled_from([{"name": "split", "separator": "|"}, {"name": "words"}]))
    pieces += draw(st.sampled_from([[], [{"name": "pad", "max": 3}]]))
    last = draw(st.sampled_from([[], [{"name": "sequence", "max": 2}]]))
    return (
        "string",
        [*chain, cut, *pieces, draw(lookups(WORDS)), *last],
        "ids",
    )


@st.composite
def number_chains(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]], str]:
    type = draw(st.sampled_from(["int", "float"]))
    filled = draw(st.sampled_from([[], [{"name": "missing", "value": 3}]]))
    if type == "int" and draw(st.booleans()):
        index = {"name": "index", "n": 6, "default": draw(st.sampled_from([None, "other", {"value": 2}]))}
        last = draw(st.one_of(st.just(index), lookups([1, 2, 3, 7, -5]), lookups(["1", "7", "x"])))
        return "int", [*filled, last], "id"
    chain = draw(st.lists(NUMBER_STEPS, max_size=3))
    if draw(st.booleans()):
        return type, chain, "number"
    edges = draw(st.lists(st.floats(-9, 9), min_size=1, max_size=4, unique=True))
    return type, [*chain, {"name": "bucketize", "edges": sorted(edges)}], "id"


VALUES = {
    "string": st.none() | st.sampled_from(WORDS) | st.text(max_size=3),
    "int": st.none() | st.integers(-8, 8) | st.integers(-(2**63), 2**63 - 1),
    "float": st.none() | st.floats() | st.integers(-8, 8).map(float),
}


@settings(max_examples=75, deadline=None)
@given(text_chains() | number_chains(), st.data())
def test_a_value_becomes_what_the_runtime_makes_of_it(
    chain: tuple[str, list[dict[str, Any]], str], data: st.DataObject
) -> None:
    type, encoders, shape = chain
    rows = None if shape == "number" else 10
    raw = RawFeature("p.c", "p", "c", type, tuple(encoders), shape, rows).all_before()
    value = data.draw(VALUES[type])
    column = {"encoders": encoders, "shape": shape, "rows": rows}
    description = {"inputs": [described(raw, "float64")]}
    json.dumps(description, allow_nan=False)
    try:
        wanted = EncoderChain("p.c", column).encode(pa.array([value], ARROW[type]), pa.array(["1"]))
    except Failure:
        with pytest.raises(RefusedValue, match=r"^p\.c "):
            encode(description, [{"c": value}])
        return
    found = encoded(description, [{"p.c": value}])["p.c"]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=0)


# --- expressions and types --------------------------------------------------------------------------------

COLUMNS = {"a": "float", "n": "int", "t": "string"}


def tree_of(op: str, *args: Any) -> dict[str, Any]:
    return {"call" if op in expressions.CALLS else "op": op, "args": list(args)}


NUMERIC = st.recursive(
    st.sampled_from([{"column": "a"}, {"column": "n"}, {"number": 2}, {"number": -0.5}]),
    lambda inner: st.one_of(
        st.builds(tree_of, st.sampled_from(["neg", "floor", "abs", "log", "exp", "sqrt", "round"]), inner),
        st.builds(
            tree_of, st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "<", "==", ">="]), inner, inner
        ),
        st.builds(tree_of, st.sampled_from(["and", "or", "!=", "<=", ">"]), inner, inner),
        st.builds(tree_of, st.sampled_from(["not", "is_missing"]), inner),
    ),
    max_leaves=6,
)
TEXTS = st.builds(
    lambda op, text: tree_of(op, tree_of("lower", tree_of("strip", {"column": "t"})), {"string": text}),
    st.sampled_from(["==", "<", "!="]),
    st.sampled_from(["a", "é", ""]),
)


@settings(max_examples=75, deadline=None)
@given(NUMERIC | TEXTS, st.none() | st.floats(-100, 100), st.none() | st.integers(-9, 9), VALUES["string"])
def test_an_expression_becomes_what_the_runtime_makes_of_it(tree: Any, a: Any, n: Any, t: Any) -> None:
    row = {"a": a, "n": n, "t": t}
    known = {name: pa.array([row[name]], ARROW[type]) for name, type in COLUMNS.items()}
    wanted = expressions.evaluate(tree, known, 1)[0].as_py()
    found = export_encode.computed(tree, COLUMNS, row.get)
    if wanted is None:
        assert found is None
    else:
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("value", "declared", "wanted"),
    [
        (" 7 ", "int", 7), ("-07", "int", -7), ("7.0", "int", 7), ("1e3", "int", 1000), ("", "int", None),
        ("NaN", "float", None), ("-inf", "float", None), (" ", "float", None), ("1e999", "float", None),
        (".5", "float", 0.5), ("5.", "float", 5.0), (True, "float", 1.0), (7.0, "int", 7),
        ("e\u0301", "string", "\u00e9"), (0.1, "string", "0.1"), (1.5e-5, "string", "1.5e-05"),
        (7, "string", "7"), (7.0, "string", "7"), (True, "string", "true"), (float("nan"), "string", None),
        (2**63 - 1, "int", 2**63 - 1), ("9223372036854775807", "int", 2**63 - 1),
    ],
)  # fmt: skip
def test_values_are_read_by_the_declared_type(value: Any, declared: str, wanted: Any) -> None:
    assert export_encode.typed(value, declared, "p.c") == wanted


@pytest.mark.parametrize(
    ("value", "declared"), [("x", "int"), ("0x7", "int"), (7.5, "int"), (2**63, "int"), ("1_000", "float")]
)
def test_what_is_not_of_the_type_is_refused_by_name(value: Any, declared: str) -> None:
    with pytest.raises(RefusedValue, match=r"^p\.c is .* is to be a"):
        export_encode.typed(value, declared, "p.c")


def test_as_a_program(tmp_path: Path) -> None:
    """JSON lines and CSV give the same; what is refused ends with a line and no traceback."""
    chain = ({"name": "vocab", "values": ["a", "b"]},)
    raw = RawFeature("p.c", "p", "c", "string", chain, "id", 2).all_before()
    (tmp_path / "m.json").write_text(json.dumps({"inputs": [described(raw, "float32")]}))
    (tmp_path / "rows.jsonl").write_text('{"c": "b"}\n\n{"c": "a", "more": [1]}\n')
    (tmp_path / "rows.csv").write_text("more,c\n1,b\n2,a\n")
    (tmp_path / "bad.csv").write_text("c\na\né\n")

    (tmp_path / "encode.py").write_text(source([]), "utf-8")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", "encode.py", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    for rows in ("rows.jsonl", "rows.csv"):
        assert json.loads(run("m.json", rows).stdout) == {"p.c": [1, 0]}
    refused = run("m.json", "bad.csv")
    assert refused.returncode == 1 and refused.stderr == "p.c is 'é', which its vocab does not list\n"
    assert run("m.json").returncode == 2
