"""Passes and emission know ops by what these say of themselves, not by name: those of other packages, too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from vflc.ops import OPS
from vflc.ops.source import INPUTS

ROOT = Path(__file__).parents[2]
FILES = [path for folder in ("passes", "emit") for path in sorted((ROOT / "vflc" / folder).rglob("*.py"))]
STRUCTURE = {*INPUTS, "constant", "when_training", "onnx"}
"""What is computed by no op: what a graph is fed with, constants, the two branches of a mode, and files that
run as they are."""
SETS = {"PLACELESS", "COLUMNS", "INPUTS", "FED", "SEEDED", "STEPS", "OP", "SECOND"}
"""Sets and names of such; of what a step of a run makes between graphs; and of operators of ONNX."""
RECORDS = {"OPS"}


def by_name(code: str) -> Iterator[str]:
    """Where code asks for an op by its name."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(_is_op, sides)):
                yield from (ast.unparse(node) for side in sides if not _is_op(side) and _names(side))
        elif isinstance(node, ast.Match) and _is_op(node.subject):
            yield ast.unparse(node.subject)
        elif isinstance(node, ast.Subscript) and _is_op(node.slice):
            if not (isinstance(node.value, ast.Name) and node.value.id in RECORDS):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            looked_up = node.func.attr == "get" and any(map(_is_op, node.args))
            yield from [ast.unparse(node)] * looked_up


def _is_op(node: ast.AST) -> bool:
    """`node.op`, or a name that holds one."""
    return (isinstance(node, ast.Attribute) and node.attr == "op") or (
        isinstance(node, ast.Name) and node.id == "op"
    )


def _names(node: ast.AST) -> bool:
    """Whether it holds a name of an op, or is a constant that may hold some."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and each.value in OPS.keys() - STRUCTURE:
            return True
        if isinstance(each, ast.Name) and each.id.isupper() and each.id not in SETS:
            return True
    return False


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_no_op_is_known_by_name(path: Path) -> None:
    assert list(by_name(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    [
        'node.op == "add"',
        '"gather" != user.op',
        'node.op in ("mul", "div")',
        'user.op not in {"sum"}',
        "node.op in LINEAR",
        "REWRITES[node.op]",
        "REWRITES.get(node.op, ())",
        "match node.op:\n    case 'add':\n        pass",
    ],
)
def test_a_name_is_seen(code: str) -> None:
    assert list(by_name(code))


@pytest.mark.parametrize(
    "code",
    [
        'node.op == "weight"',
        "node.op in COLUMNS",
        "OPS[node.op].elementwise",
        "op.by_id == 'sums'",
        "user.op in terms",
        "b.op('add', x, y)",
    ],
)
def test_nothing_else_is_seen(code: str) -> None:
    assert not list(by_name(code))
