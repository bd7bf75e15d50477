"""For `mutants.py`: runs a folder's tests on one mutant after another.

First the tests run unchanged under coverage, which tells what each runs and how long it takes. Then pytest
starts once more, collects them, and forks for each mutant (`mutants_plugin.py`): the changed function is
exchanged in place, so that no mutant pays for imports. Who survives has passed every test that ran the
changed statement, or that starts processes, whose statements nobody sees. What runs when modules are
imported cannot be exchanged: for such a mutant a pytest of its own starts, with all tests.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).resolve().parents[1]
PYTEST = ("-m", "pytest", "-q", "-p", "mutants_plugin", "-p", "no:cacheprovider", "--assert=plain", "--tb=no")
"""Nobody reads why a test fails, and what its functions were given, a model say, takes minutes to show."""
COVERAGE = "[run]\ninclude =\n    {files}\ndata_file = {data}\n"
KILLED, SURVIVED, SLOW = "killed", "survived", "killed by time"


@dataclass(frozen=True)
class Mutant:
    """One change of one file; `was` and `now` are the first line that differs, stripped."""

    path: str
    operator: str
    line: int
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {self.operator}\n    - {self.was}\n    + {self.now}"

    def listed(self) -> dict[str, str]:
        """As `mutants.toml` names it."""
        return {"path": self.path, "was": self.was, "now": self.now}


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


def started(
    arguments: tuple[str, ...], copy: Path, *handed: int, **variables: str
) -> subprocess.Popen[bytes]:
    """Python in a copy; what it writes is in `output.txt`."""
    path = os.pathsep.join(map(str, (copy, copy / "runtime", copy / "names", copy / "tests")))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | variables
    with (copy / "output.txt").open("wb") as out:
        command = (sys.executable, *arguments)
        return subprocess.Popen(command, cwd=copy, env=environment, stdout=out, stderr=out, pass_fds=handed)


@dataclass(frozen=True)
class Tests:
    """The tests of a folder as they are.

    Args:
        paths: what pytest is given
        most: seconds of tests for one mutant; what later ones would notice has survived
        lines: by file and line, those that run it; "" is what runs while they are collected
        seconds: of those that pass
        failed: those that do not
        starting: those that start processes
    """

    paths: list[str]
    most: float
    lines: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]
    failed: list[str]
    starting: list[str]

    def files(self, chosen: Iterable[str] | None = None) -> dict[str, float]:
        """The seconds that tests of a file take, the cheapest file first."""
        costs: dict[str, float] = {}
        for name in self.seconds if chosen is None else chosen:
            costs[_file(name)] = costs.get(_file(name), 0) + self.seconds[name]
        return dict(sorted(costs.items(), key=lambda each: each[1]))

    def cheapest(self) -> dict[str, float]:
        """The cheapest test of each file, with its seconds."""
        dearest_first = sorted(self.seconds.items(), key=lambda each: -each[1])
        return dict({_file(name): (name, seconds) for name, seconds in dearest_first}.values())

    def noticing(self, path: str, statement: range | None) -> dict[str, float]:
        """Those that may notice a change of a statement, or of any in the file, in order, with their seconds.

        The cheapest are chosen; those of a file stay together, since they share what is set up. Of what is
        run when the file is imported, any test may notice, and no test is known to be near it.
        """
        lines = self.lines.get(path, {})
        near = {name for line in statement or () for name in lines.get(line, ())}
        able = self.seconds.keys() & (near | set(self.starting) if statement else self.seconds.keys())
        cheap = sorted(able, key=lambda name: (name not in near, self.seconds[name]))
        left = [self.most, *(self.most - total for total in accumulate(self.seconds[name] for name in cheap))]
        chosen = [name for name, rest in zip(cheap, left, strict=False) if rest > 0]
        files = [*self.files(chosen)]
        chosen.sort(key=lambda name: (name not in near, files.index(_file(name))))
        return {name: self.seconds[name] for name in chosen}


def _file(test: str) -> str:
    return test.partition("::")[0]


def recorded(sources: list[str], paths: list[str], copy: Path, most: float) -> Tests:
    """Runs the tests unchanged, each in a context of coverage of its own."""
    from coverage import CoverageData

    settings, data, noted = copy / "coverage.ini", copy / "coverage.data", copy / "noted.json"
    files = "\n    ".join(str(path) for source in sources for path in python_files(copy / source))
    settings.write_text(COVERAGE.format(files=files, data=data), "utf-8")
    traced = ("-m", "coverage", "run", f"--rcfile={settings}", *PYTEST, *paths)
    process = started(traced, copy, MUTANTS_NOTED=str(noted))
    try:
        process.wait()
    finally:
        process.kill()
    if not noted.exists():
        sys.exit("the tests do not run:\n" + (copy / "output.txt").read_text("utf-8")[-3000:])
    measured = CoverageData(str(data))
    measured.read()
    lines = {
        Path(path).relative_to(copy).as_posix(): measured.contexts_by_lineno(path)
        for path in measured.measured_files()
    }
    return Tests(paths, most, lines, **json.loads(noted.read_text("utf-8")))


class Server:
    """pytest in a copy, its tests collected."""

    def __init__(self, copy: Path, paths: list[str], imports: Iterable[str] = ()) -> None:
        ours, its = socket.socketpair()
        with ours, its:
            arguments = (*PYTEST, f"--basetemp={copy / 'tmp'}", *paths)
            handed = {"MUTANTS_SOCKET": str(its.fileno()), "MUTANTS_IMPORTS": " ".join(imports)}
            self.process = started(arguments, copy, its.fileno(), **handed)
            self.channel = ours.makefile("rw", encoding="utf-8")
        self.collected = self.channel.readline() != ""

    def run(self, path: Path, was: str, now: str, seconds: dict[str, float]) -> int:
        """The exit code of tests, in this order, on a file that is changed."""
        if not self.collected:
            return 1
        request = {"path": str(path), "was": was, "now": now, "seconds": seconds}
        self.channel.write(json.dumps(request) + "\n")
        self.channel.flush()
        return int(self.channel.readline())

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.channel.close()


class Workplace:
    """A copy of the work tree, in which one mutant is tried at a time."""

    def __init__(self, copy: Path, tests: Tests, imports: list[str]) -> None:
        self.copy, self.tests = copy, tests
        self.server = Server(copy, tests.paths, imports)
        if not self.server.collected:
            sys.exit("the tests do not run:\n" + (copy / "output.txt").read_text("utf-8")[-3000:])
        if self.server.run(copy, "", "", tests.cheapest()) != 0:
            sys.exit("tests fail in a fork:\n" + (copy / "output.txt").read_text("utf-8")[-3000:])

    def tried(self, one: Mutant, now: str) -> str:
        """KILLED, SURVIVED or SLOW: what tests say of the changed file."""
        target = self.copy / one.path
        was = target.read_text("utf-8")
        changed, lines = statement(was, one.line), self.tests.lines.get(one.path, {})
        early = at_import(was) != at_import(now) or any("" in lines.get(each, ()) for each in changed)
        chosen = self.tests.noticing(one.path, None if early else changed)
        if not chosen:
            return SURVIVED
        target.write_text(now, "utf-8")
        server = Server(self.copy, self.tests.paths) if early else self.server
        try:
            status = server.run(target, was, now, chosen)
        finally:
            target.write_text(was, "utf-8")
            if early:
                server.close()
        return SURVIVED if status == 0 else SLOW if status == -signal.SIGALRM else KILLED


@contextmanager
def workplaces(
    copies: list[Path], tests: Tests, imports: list[str]
) -> Iterator[Callable[[Mutant, str], str]]:
    """`Workplace.tried`, for as many threads as there are copies."""
    every = [Workplace(copy, tests, imports) for copy in copies]
    free: queue.SimpleQueue[Workplace] = queue.SimpleQueue()
    for each in every:
        free.put(each)

    def tried(one: Mutant, code: str) -> str:
        place = free.get()
        try:
            return place.tried(one, code)
        finally:
            free.put(place)

    try:
        yield tried
    finally:
        for each in every:
            each.server.close()


def statement(code: str, line: int) -> range:
    """The lines of the smallest statement around a line; its head alone where a body follows."""
    best = range(1, len(code.splitlines()) + 1)
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.stmt):
            continue
        begin = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        end = node.end_lineno or node.lineno
        if isinstance(node, ast.If | ast.For | ast.While | ast.With) and line < node.body[0].lineno:
            end = node.body[0].lineno - 1
        if begin <= line <= end and end - begin < len(best):
            best = range(begin, end + 1)
    return best


def at_import(code: str) -> list[tuple[object, ...]] | None:
    """What is run when a module is imported, to compare; None where that cannot be."""
    try:
        return [
            (each.co_code, each.co_names, [repr(c) for c in each.co_consts if not isinstance(c, CodeType)])
            for each in code_objects(compile(code, "", "exec", dont_inherit=True))
            if not each.co_flags & inspect.CO_OPTIMIZED  # modules and the bodies of classes
        ]
    except SyntaxError:
        return None


def code_objects(code: CodeType) -> Iterator[CodeType]:
    """A code object and all within."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from code_objects(each)
