"""Builds the playground into a folder that any web server can serve: `python site/playground/build.py OUT`.

It needs npm, and pip's usual index for two packages. Nothing is fetched when the page runs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODULES = HERE / "node_modules"
PYTHON = ("3.14", "cp314", "pyemscripten_2026_0_wasm32")
"""The version of Python in the browser, its ABI, and the platform of its wheels."""
PYODIDE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
RUNTIME = ROOT / "runtime"
COMPILER = {"vflc": ROOT / "vflc", "vflc_common": RUNTIME / "vflc_common", "vflc_grammars": ROOT / "grammars"}
LEFT_OUT = {"cli", "api", "importing", "keras", "__pycache__", "tests"}
"""Folders of no use to a page: what runs models, commands, and tests of packages."""
FIRST = (
    "one_table", "deepfm", "mmoe", "wide_deep", "three_parties", "one_to_many", "deepfm_protected",
    "fedrecon",
)  # fmt: skip
"""Examples in the order of the menu; others follow."""
TIME = (2026, 1, 1, 0, 0, 0)
"""Of files in the archive: the same source gives the same bytes."""


STATIC = (
    HERE / "page.css", ROOT / "vflc" / "picture" / "graph.css", ROOT / "grammars" / "vfl.tmLanguage.json",
    MODULES / "vscode-oniguruma" / "release" / "onig.wasm",
)  # fmt: skip


def build(out: Path) -> None:
    """Writes the page and all that it loads to `out`, replacing what is there."""
    if not MODULES.is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True)
    shutil.rmtree(out, ignore_errors=True)
    (out / "pyodide").mkdir(parents=True)
    for path in STATIC:
        shutil.copy(path, out)
    for name in PYODIDE:
        shutil.copy(MODULES / "pyodide" / name, out / "pyodide")
    # Within the page, since a browser asks for an icon again whenever the address changes.
    icon = "data:image/svg+xml," + quote((HERE / "icon.svg").read_text("utf-8"))
    page = (HERE / "index.html").read_text("utf-8").replace("ICON", icon)
    (out / "index.html").write_text(page, encoding="utf-8")
    bundle = ["npx", "esbuild", "src/page.js", "src/worker.js", "--bundle", "--minify", "--format=esm"]
    bundle += ["--external:./pyodide/*", "--target=es2022", "--log-level=warning", "--legal-comments=linked"]
    subprocess.run([*bundle, f"--outdir={out}"], cwd=HERE, check=True)
    (out / "examples.json").write_text(json.dumps(list(examples())), encoding="utf-8")
    pack(out / "vflc.zip")


def examples() -> Iterator[dict[str, str]]:
    """The specs of the repository, each with what the menu calls it."""
    specs = {path.stem: path for path in sorted((ROOT / "specs").rglob("*.vfl"))}
    for name in [*FIRST, *sorted(specs.keys() - set(FIRST))]:
        yield {"name": name, "title": name.replace("_", " "), "text": specs[name].read_text("utf-8")}


def pack(archive: Path) -> None:
    """The compiler and the packages that it needs, as one archive."""
    with zipfile.ZipFile(archive, "w") as packed:
        for name, content in [*_packages(), *_sources()]:
            if not LEFT_OUT & {*Path(name).parts}:
                packed.writestr(zipfile.ZipInfo(name, TIME), content, zipfile.ZIP_DEFLATED)


def _sources() -> Iterator[tuple[str, bytes]]:
    for name, folder in [*COMPILER.items(), ("", HERE / "python")]:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield (Path(name) / path.relative_to(folder)).as_posix(), path.read_bytes()


def _packages() -> Iterator[tuple[str, bytes]]:
    """Files of the wheels, for the browser, that requirements.txt names."""
    version, abi, platform = PYTHON
    wanted = ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
    wanted += [f"--abi={abi}", "--abi=none", f"--platform={platform}", "--platform=any", "--require-hashes"]
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        where = [f"--requirement={HERE / 'requirements.txt'}", f"--dest={folder}"]
        subprocess.run([*pip, *wanted, *where], check=True)
        for wheel in sorted(Path(folder).glob("*.whl")):
            with zipfile.ZipFile(wheel) as package:
                yield from ((name, package.read(name)) for name in sorted(package.namelist()))


if __name__ == "__main__":
    build(Path(sys.argv[1] if sys.argv[1:] else ROOT / "build" / "playground").resolve())
