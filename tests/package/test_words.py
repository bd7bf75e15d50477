"""Words that compiler and runtime share stand in `vflc_common`, and nowhere else."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from package.statements import statements
from vflc_common import canonical
from vflc_common.bound import LEAST_FIRST, Bound
from vflc_common.expressions import CALLS, columns, operation_type, type_of

from vflc.ops.mechanisms import MECHANISMS

ROOT = Path(__file__).parents[2]
SIDES = {"compiler": ROOT / "vflc", "runtime": ROOT / "runtime" / "vflc_runtime"}
PLAIN = (ast.Constant, ast.Tuple)
MANY = 3
"""Texts that are a vocabulary; two stand together by chance."""
CHANCE = {
    frozenset({"attack", "bound", "channel", "level", "measure", "party", "score", "secret"}),
    frozenset({"rows", "kept", "dropped"}),
    frozenset({"batch", "seed", "validation"}),
    frozenset({"float32", "float64", "int32", "int64", "string"}),
}
"""Keys of reports, which one side writes and the other shows; element types, here of Keras, there of ONNX."""


def vocabularies(top: Path) -> Iterator[frozenset[str]]:
    """The sets of texts that the files below write out: tuples, lists, sets, keys, literal types."""
    for path in sorted(top.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            parts: list[ast.expr | None] = []
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                parts = [*node.elts]
            elif isinstance(node, ast.Dict) and all(isinstance(value, PLAIN) for value in node.values):
                parts = [*node.keys]  # others are tables of what each side does at a word
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "one_of":
                parts = [*node.args]
            texts = [part.value for part in parts if isinstance(part, ast.Constant)]
            if len(texts) == len(parts) >= MANY and all(isinstance(text, str) for text in texts):
                yield frozenset(texts)


def test_no_vocabulary_stands_at_both() -> None:
    compiler, runtime = (set(vocabularies(top)) for top in SIDES.values())
    assert compiler & runtime - CHANCE == set()


# --- names ------------------------------------------------------------------------------------------------

HALVES = {
    "Bundle", "Draw", "Edge", "Gradient", "Guard", "Initializer", "LayerVariable", "Loss", "Matrix",
    "Message", "Missed", "Newest", "Optimizer", "Power", "Prediction", "Product", "Slice", "Step",
    "Sum", "Update",
}  # fmt: skip
"""What the compiler writes into a bundle and the runtime reads from it: each has its half of one thing."""


def types_defined(top: Path) -> Iterator[tuple[str, str]]:
    """The public classes and aliases of types that files define, with their file."""
    for path in sorted(top.rglob("*.py")):
        for node, inside in statements(ast.parse(path.read_text("utf-8")).body):
            if inside == "function":
                continue
            names: list[str] = []
            if isinstance(node, ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                names = [name for name in names if name[0].isupper() and not name.isupper()]
            yield from ((name, str(path.relative_to(ROOT))) for name in names if not name.startswith("_"))


def test_a_type_bears_a_name_of_its_own() -> None:
    """One word has one meaning, for whoever reads `Rows` or searches for it."""
    where: dict[str, dict[str, set[str]]] = {}
    for side, top in {**SIDES, "both": ROOT / "runtime" / "vflc_common"}.items():
        for name, path in types_defined(top):
            where.setdefault(name, {}).setdefault(side, set()).add(path)
    alike = {name: found for name, found in where.items() if sum(map(len, found.values())) > 1}
    halves = {
        name for name, found in alike.items()
        if {*found} == {"compiler", "runtime"} and all(len(paths) == 1 for paths in found.values())
    }  # fmt: skip
    assert {name: alike[name] for name in alike.keys() - (HALVES & halves)} == {}
    assert HALVES - halves == set(), "these are no longer defined by both"


# --- the canonical form -----------------------------------------------------------------------------------

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.text(), plain))
def test_a_document_is_known_by_its_digest(document: dict[str, Any]) -> None:
    signed = canonical.signed(document)
    assert canonical.digest(signed) == signed["digest"]
    again = json.loads(canonical.canonical(signed))
    assert canonical.canonical(again) == canonical.canonical(signed)
    assert canonical.digest(dict(reversed(again.items()))) == signed["digest"]
    assert canonical.digest({**signed, "more": 1, "yet more": document}) != signed["digest"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_no_number_is_has_no_form(number: float) -> None:
    with pytest.raises(ValueError):
        canonical.digest({"a": [number]})


# --- expressions and bounds -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "found"),
    [
        ({"column": "n"}, "int"),
        ({"string": "7"}, "string"),
        ({"number": 7}, "int"),
        ({"number": 7.0}, "float"),
        ({"op": "+", "args": [{"column": "n"}, {"number": 1}]}, "int"),
        ({"op": "/", "args": [{"column": "n"}, {"number": 1}]}, "float"),
        ({"op": "**", "args": [{"column": "n"}, {"number": 2}]}, "float"),
        ({"op": "//", "args": [{"column": "x"}, {"number": 2}]}, "int"),
        ({"op": "*", "args": [{"column": "x"}, {"number": 2}]}, "float"),
        ({"op": "<", "args": [{"column": "n"}, {"number": 2}]}, "float"),
        ({"op": "and", "args": [{"column": "n"}, {"column": "n"}]}, "float"),
        ({"op": "neg", "args": [{"column": "n"}]}, "int"),
        ({"call": "lower", "args": [{"column": "t"}]}, "string"),
        ({"call": "round", "args": [{"column": "x"}]}, "int"),
    ],
)
def test_types_of_expressions(tree: dict[str, Any], found: str) -> None:
    assert type_of(tree, {"n": "int", "x": "float", "t": "string"}) == found


def test_columns_of_an_expression() -> None:
    inner = {"op": "+", "args": [{"column": "b"}, {"column": "a"}]}
    outer = {"op": "*", "args": [inner, {"call": "abs", "args": [{"column": "b"}]}]}
    assert list(columns(outer)) == ["b", "a", "b"]
    assert list(columns({"number": 1})) == []
    assert operation_type("-", ("int",)) == "int" and "abs" in CALLS


def test_bounds_from_the_least_to_the_most() -> None:
    words = [str(Bound(kind, 3.0, 2.0)) for kind in LEAST_FIRST]
    assert words[2] == "which rows are common, and which are one key's"
    assert words == ["nothing", "which rows are common", words[2], "ε = 2", "its code (3 bits a row)", "all"]


# --- mechanisms -------------------------------------------------------------------------------------------


KERAS = {("vflc/importing/keras_training.py", "top_k")}
"""Words of Keras that a mechanism has by chance."""


def names_in(code: str) -> Iterator[str]:
    """The texts and names of a file's code, its documentation aside."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Name):
            yield node.id


def test_a_mechanism_is_named_by_its_own_files_alone() -> None:
    """Whatever else must know of one reads its record, or what the compiler has written of it."""
    names, found = set(MECHANISMS.ours), set()
    for top in SIDES.values():
        for path in top.rglob("*.py"):
            code = path.read_text("utf-8")
            if path.stem not in names and any(name in code for name in names):
                found |= {(str(path.relative_to(ROOT)), each) for each in names.intersection(names_in(code))}
    assert found - KERAS == set()
