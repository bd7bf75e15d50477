"""Who may import whom: the table of the design, read off every import in the source."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from package.statements import statements

ROOT = Path(__file__).parents[2]

BELOW = {"diagnostics", "syntax", "ir", "ops", "passes", "emit", "grammars", "common"}
MAY_IMPORT = {
    "common": set(),
    "diagnostics": set(),
    "syntax": {"diagnostics", "grammars", "common"},
    "ir": {"diagnostics", "common"},
    "ops": {"ir", "diagnostics", "common"},
    "onnx_file": {"diagnostics", "common"},
    "translation": {"ops", "diagnostics", "common", "onnx_file"},
    "passes": {"ops", "ir", "diagnostics", "syntax", "common", "onnx_file", "translation", "library"},
    "emit": {"ops", "ir", "diagnostics", "common"},
    "picture": {"ops", "ir", "emit", "diagnostics", "common"},
    "library": set(),
    "fixes": {*BELOW},
    "overrides": {*BELOW},
    "driver": {*BELOW, "library", "fixes", "overrides"},
    "lsp": {*BELOW, "driver", "library", "picture"},
    "importing": {*BELOW, "driver", "onnx_file", "translation", "runtime"},
    "report": {"diagnostics", "emit", "ir", "common", "runtime"},
    "api": {*BELOW, "driver", "picture", "runtime", "report"},
    "cli": {*BELOW, "driver", "library", "api", "runtime", "importing", "lsp", "picture", "report"},
    "runtime": {"common", "kernels"},
    "grammars": set(),
    "kernels": set(),
}
TOP = {
    "blas", "control_groups", "cores", "curves", "environment", "errors", "events", "files", "finite",
    "interrupts", "memory",
}  # fmt: skip
TOP |= {"metrics", "scratch", "tensors"}
RUN = {"bundle", "data", "engines", "transport", "protect", "population"}
RUNTIME_MAY_IMPORT = {
    "bundle": set(),
    "data": set(),
    "engines": {"bundle"},
    "transport": {"bundle"},
    "alignment": set(),
    "protect": {"bundle", "data", "engines"},
    "population": {"bundle", "engines", "data", "protect"},
    "run": RUN,
    "export": {"run", *RUN},
    "verify": {"run", *RUN},
    "audit": {"run", *RUN},
    "party": {"run", *RUN, "alignment"},
}
"""Of the runtime's folders, beside what lies at its top, which imports nothing but its like."""
ELSEWHERE = {"runtime", "kernels", "grammars"}
"""What is no part of the compiler."""
HEAVY = {
    "onnx", "onnxruntime", "tensorflow", "keras", "networkx", "duckdb", "pyarrow", "grpc", "cryptography",
}  # fmt: skip


@cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Modules that a file imports, and whether it does so when it is itself imported."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    for node, inside in statements(ast.parse(path.read_text("utf-8")).body):
        if isinstance(node, ast.Import):
            yield from ((alias.name, not inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it goes"
            names = [f".{alias.name}" for alias in node.names] if node.module == "vflc_runtime" else [""]
            yield from (((node.module or "") + name, not inside) for name in names)


def layer(module: str) -> str | None:
    """The layer a module belongs to; None for what is not ours, and for `vflc` itself."""
    parts = module.split(".")
    if parts[0] in ("vflc_common", "vflc_kernels", "vflc_runtime", "vflc_grammars"):
        return parts[0].removeprefix("vflc_")
    return parts[1] if parts[0] == "vflc" and len(parts) > 1 else None


def sources() -> list[tuple[str, Path]]:
    compiler = [
        (path.relative_to(ROOT / "vflc").parts[0].removesuffix(".py"), path)
        for path in sorted((ROOT / "vflc").rglob("*.py"))
        if path.parent != ROOT / "vflc" or path.stem in ("driver", "fixes", "overrides")
    ]
    below = [
        (path.relative_to(ROOT / "runtime").parts[0].removeprefix("vflc_"), path)
        for path in sorted((ROOT / "runtime").rglob("*.py"))
    ]
    return [*compiler, *below, *(("grammars", path) for path in sorted((ROOT / "grammars").glob("*.py")))]


@pytest.mark.parametrize("name", sorted(MAY_IMPORT))
def test_layer_imports_only_what_it_may(name: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for own, path in sources()
        if own == name
        for module, _ in imports(path)
        if (found := layer(module)) not in (None, name) and found not in MAY_IMPORT[name]
    ]
    assert not wrong


def folder(module: str) -> str:
    """The runtime's folder that a module lies in; "" for its top."""
    name = module.split(".")[1] if "." in module else ""
    return "" if name in TOP else name


def test_runtime_folders_import_only_what_they_may() -> None:
    base = ROOT / "runtime" / "vflc_runtime"
    wrong = []
    for path in sorted(base.rglob("*.py")):
        own = folder(".".join(["vflc_runtime", *path.relative_to(base).with_suffix("").parts]))
        found = {folder(module) for module, _ in imports(path) if module.startswith("vflc_runtime")}
        allowed = RUNTIME_MAY_IMPORT[own] if own not in ("", "__init__") else set()
        wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in found - {own, "", *allowed}]
    assert not wrong


def test_every_package_has_a_layer() -> None:
    assert {name for name, _ in sources()} <= set(MAY_IMPORT)


def test_every_folder_with_sources_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    found = {"vflc_grammars"}
    runtime = (ROOT / "runtime" / f"vflc_{name}" for name in ("common", "kernels", "runtime"))
    for top in (ROOT / "vflc", *runtime):
        found |= {".".join(path.parent.relative_to(top.parent).parts) for path in top.rglob("__init__.py")}
    assert found == set(settings["packages"])


def test_compiler_imports_numpy_only_where_files_are_written() -> None:
    """Ops have it from `vflc.ops.numpy`, which imports it when something is computed."""
    compiler = (path for own, path in sources() if own not in ELSEWHERE)
    where = {str(path.relative_to(ROOT)) for path in compiler
             for module, at_once in imports(path) if at_once and module.split(".")[0] == "numpy"}  # fmt: skip
    assert all(path.startswith("vflc/emit/") for path in where)


def test_translation_has_no_numpy() -> None:
    """Not inside functions either: a check translates files, and runs where there is none."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for own, path in sources()
        if own == "translation"
        for module, _ in imports(path)
        if "numpy" in module.split(".")
    ]
    assert not wrong


def test_compiler_imports_heavy_packages_only_inside_functions() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for own, path in sources()
        if own not in ELSEWHERE
        for module, at_once in imports(path)
        if at_once and module.split(".")[0] in HEAVY
    ]
    assert not wrong
