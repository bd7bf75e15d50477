"""What public functions say of themselves: shapes of arrays, units of times, codes of what they raise."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOPS = [ROOT / "vflc", *(ROOT / "runtime" / f"vflc_{name}" for name in ("common", "kernels", "runtime"))]
ARRAYS = {"Array", "Indices", "RowKeys", "Words", "NDArray", "ndarray"}
TIMES = {"timeout", "delay", "silence", "interval", "within"}
RECORDS = (
    "vflc/ops",
    "runtime/vflc_common/encoders",
    "runtime/vflc_common/metrics",
    "runtime/vflc_common/codecs",
)
"""Folders of records: what a function does that a record holds is said once, at the record's field."""
OTHERWISE = re.compile(r"\b[Ss]ee `|\bas `")
"""Says that another docstring tells it, that of a protocol as a rule."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def files() -> dict[str, ast.Module]:
    paths = [path for top in TOPS for path in sorted(top.rglob("*.py"))]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in paths}


def is_public(name: str) -> bool:
    return not name.startswith("_") or name in ("__init__", "__call__")


def functions() -> Iterator[tuple[str, Function, str]]:
    """Public functions and methods: where, what, and all that is said of each, its class included."""
    for path, tree in files().items():
        held = held_by_records(tree) if path.startswith(RECORDS) else frozenset()
        for node in tree.body:
            if isinstance(node, Function) and is_public(node.name) and node.name not in held:
                yield f"{path}:{node.lineno} {node.name}", node, ast.get_docstring(node) or ""
            if isinstance(node, ast.ClassDef) and is_public(node.name):
                own = ast.get_docstring(node) or ""
                for each in node.body:
                    if isinstance(each, Function) and is_public(each.name):
                        where = f"{path}:{each.lineno} {node.name}.{each.name}"
                        yield where, each, f"{ast.get_docstring(each) or ''}\n{own}"


def held_by_records(tree: ast.Module) -> frozenset[str]:
    """Functions that a file gives to a record, or that are the language's, whose pages are for users."""
    found = set()
    for node in tree.body:
        if isinstance(node, Function) and node.decorator_list:
            found.add(node.name)
        elif not isinstance(node, Function | ast.ClassDef | ast.Import | ast.ImportFrom):
            found |= {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    return frozenset(found)


def names(annotation: ast.expr | None) -> set[str]:
    inner = ast.walk(annotation) if annotation else ()
    return {getattr(node, "id", getattr(node, "attr", "")) for node in inner}


def arguments(node: Function) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def test_arrays_have_a_shape() -> None:
    """In brackets, `[rows, units]`; `[*]` where any will do."""
    silent = [
        where
        for where, node, said in functions()
        if set().union(names(node.returns), *(names(each.annotation) for each in arguments(node))) & ARRAYS
        if not re.search(r"\[[^\]\n]+\]", said) and not OTHERWISE.search(said)
    ]
    assert not silent


def test_times_have_a_unit() -> None:
    silent = [
        f"{where}({each.arg})"
        for where, node, said in functions()
        for each in arguments(node)
        if each.arg in TIMES and "float" in names(each.annotation)
        if "seconds" not in said and not OTHERWISE.search(said)
    ]
    assert not silent


def test_what_is_raised_is_said() -> None:
    """The codes of what a function raises itself; what it calls says its own."""
    silent = [
        f"{where} raises {code}"
        for where, node, said in functions()
        for inner in ast.walk(node)
        if isinstance(inner, ast.Raise) and inner.exc is not None
        for code in re.findall(r"VFL[0-9]{4}", ast.unparse(inner.exc))
        if code not in said
    ]
    assert not silent


def test_the_rules_find_what_they_are_for() -> None:
    """Nothing is found where nothing is looked at."""
    found = [*functions()]
    assert sum(1 for _, node, _ in found if names(node.returns) & ARRAYS) > 100
    assert sum("VFL" in said for _, _, said in found) > 100
    assert any(each.arg == "timeout" for _, node, _ in found for each in arguments(node))
