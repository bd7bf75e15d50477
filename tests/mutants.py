"""What the tests of a folder do not notice: changes by Cosmic Ray, one at a time, and who survives.

    make mutants FOLDER=protect SAMPLE=60 [SEED=7] [JOBS=2]

A *place* is a piece of source that can be changed in one or several ways (`<` into `<=`, `==`, …). Of the
places of a folder a sample is drawn and each is changed in one way, so that arithmetic, which has most ways,
does not count most. Changes of annotations are none. Everything happens in copies of the work tree. Tests
that ran the changed line come first, so most mutants are gone within seconds; one survives if all pass.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import queue
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_suffix(".toml")
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "mutants_plugin", "-p", "no:cacheprovider")
COVERAGE = "[run]\nsource = {sources}\ndata_file = {file}\n"


@dataclass(frozen=True)
class Mutant:
    """One change of one file; `was` and `now` are the first line that differs, stripped."""

    path: str
    line: int
    was: str
    now: str
    code: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}\n    - {self.was}\n    + {self.now}"

    def listed(self) -> dict[str, str]:
        """As `mutants.toml` names it."""
        return {"path": self.path, "was": self.was, "now": self.now}


def places(path: str, code: str) -> list[list[tuple[str, str, int]]]:
    """The places of a file; each is the list of its ways: file, operator, occurrence."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    nodes = list(ast_nodes(get_ast(code)))
    found: dict[Any, list[tuple[str, str, int]]] = {}
    for name in operator_names():
        kind = get_operator(name)
        if name == "core/NoOp" or kind.arguments():
            continue
        operator = kind()
        spans = [span for node in nodes for span in operator.mutation_positions(node)]
        for occurrence, span in enumerate(spans):
            found.setdefault((span, name.partition("_")[0]), []).append((path, name, occurrence))
    return [found[key] for key in sorted(found)]


def mutant(code: str, path: str, operator: str, occurrence: int) -> Mutant | None:
    """The file changed in this way; None where nothing of it is run, as in an annotation."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    changed = mutate_code(code, get_operator(operator)(), occurrence)
    if changed is None or meaning(changed) == meaning(code):
        return None
    pairs = zip(code.splitlines(), changed.splitlines(), strict=False)
    line, (was, now) = next((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    return Mutant(path, line, was.strip(), now.strip(), changed)


def meaning(code: str) -> str:
    """The syntax tree without annotations, or the text where it is no Python."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return code
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    return ast.dump(tree)


def drawn(
    folder: dict[str, Any], sample: int, seed: int, equivalent: list[dict[str, str]]
) -> Iterator[Mutant]:
    """`sample` mutants of the places of a folder, in random order; no equivalent ones."""
    files = [path for source in folder["sources"] for path in python_files(ROOT / source)]
    codes = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in files}
    all_places = [place for path, code in codes.items() for place in places(path, code)]
    chance = random.Random(seed)
    chance.shuffle(all_places)
    print(f"{len(all_places)} places in {len(codes)} files, seed {seed}", flush=True)
    count = 0
    for ways in all_places:
        path, operator, occurrence = chance.choice(ways)
        one = mutant(codes[path], path, operator, occurrence)
        if one is None or one.listed() in equivalent:
            continue
        yield one
        count += 1
        if count == sample:
            return


def python_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def copied(to: Path) -> Path:
    """A copy of the work tree as git sees it."""
    listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0"):
        path = Path(os.fsdecode(name))
        if name and (ROOT / path).is_file():
            (to / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, to / path)
    (to / "names").mkdir()
    (to / "names" / "vflc_grammars").symlink_to(to / "grammars")
    return to


def run(command: tuple[str, ...], copy: Path, seconds: float | None, **variables: str) -> int | None:
    """The exit code of tests in a copy; None where they took longer than `seconds` and were ended."""
    path = os.pathsep.join(map(str, (copy, copy / "runtime", copy / "names", copy / "tests")))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | variables
    with (copy / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=copy, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@dataclass(frozen=True)
class Tests:
    """The tests of a folder as they are: which run each line, by file; seconds of those that pass."""

    paths: list[str]
    lines: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]
    failed: list[str]


def recorded(folder: dict[str, Any], copy: Path) -> Tests:
    """Runs the tests unchanged, each in a context of coverage of its own."""
    from coverage import CoverageData

    settings, file, seconds = copy / "coverage.ini", copy / "coverage.data", copy / "seconds.json"
    sources = ",".join({Path(source).parts[0] for source in folder["sources"]})
    settings.write_text(COVERAGE.format(sources=sources, file=file))
    traced = (sys.executable, "-m", "coverage", "run", f"--rcfile={settings}", *PYTEST[1:], *folder["tests"])
    run(traced, copy, None, MUTANTS_SECONDS=str(seconds))
    if not seconds.exists():
        sys.exit("the tests do not run:\n" + (copy / "output.txt").read_text("utf-8")[-3000:])
    data = CoverageData(str(file))
    data.read()
    lines = {
        Path(path).relative_to(copy).as_posix(): data.contexts_by_lineno(path)
        for path in data.measured_files()
    }
    return Tests(folder["tests"], lines, *json.loads(seconds.read_text("utf-8")))


def tried(one: Mutant, tests: Tests, copy: Path) -> tuple[Mutant, int | None]:
    """Runs the tests on the mutant; returns the exit code as `run` does."""
    target, order = copy / one.path, copy / "first.json"
    order.write_text(json.dumps([tests.lines.get(one.path, {}).get(one.line, []), tests.failed]), "utf-8")
    code = target.read_text("utf-8")
    target.write_text(one.code, "utf-8")
    try:
        limit = 60 + 4 * sum(tests.seconds.values())
        return one, run((*PYTEST, "-x", *tests.paths), copy, limit, MUTANTS_FIRST=str(order))
    finally:
        target.write_text(code, "utf-8")


def interval(killed: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, killed / of
    middle, half = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)


def main() -> None:
    table = tomllib.loads(TABLE.read_text("utf-8"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", choices=table["folders"])
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--jobs", type=int, default=1)
    chosen = parser.parse_args()
    folder = table["folders"][chosen.folder]
    equivalent = [{key: each[key] for key in ("path", "was", "now")} for each in table.get("equivalent", ())]
    survivors, slow, count, began = [], 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants") as scratch:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(chosen.jobs):
            copies.put(copied(Path(scratch).resolve() / str(number)))
        begin = copies.get()
        tests = recorded(folder, begin)
        copies.put(begin)
        print(f"{len(tests.seconds)} tests pass unchanged in {sum(tests.seconds.values()):.0f} s", flush=True)
        for failed in tests.failed:
            print(f"fails unchanged, and is left out: {failed}")

        def attempt(one: Mutant) -> tuple[Mutant, int | None]:
            copy = copies.get()
            try:
                return tried(one, tests, copy)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(chosen.jobs) as pool:
            for one, code in pool.map(attempt, drawn(folder, chosen.sample, chosen.seed, equivalent)):
                count += 1
                slow += code is None
                if code == 0:
                    survivors.append(one)
                    print(f"survived: {one}", flush=True)
    low, high = interval(count - len(survivors), count)
    print(
        f"{chosen.folder}: {count - len(survivors)} of {count} killed, "
        f"{1 - len(survivors) / count:.0%} (95 %: {low:.0%} to {high:.0%}), "
        f"{slow} of them by time, seed {chosen.seed}, {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
