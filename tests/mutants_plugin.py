"""For `mutants_run.py`, in pytest: notes what tests do unchanged, or serves one mutant after another."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

NOTED, SOCKET = os.environ.get("MUTANTS_NOTED"), os.environ.get("MUTANTS_SOCKET")
SECONDS: dict[str, float] = {}
FAILED: set[str] = set()
STARTING: set[str] = set()
"""Tests that start processes."""
STARTS = {"subprocess.Popen", "forked.Command", "os.fork", "os.posix_spawn", "os.system", "os.exec"}
MOST_EXAMPLES = 8
current: list[str] = []


def pytest_configure() -> None:
    """An example that fails is enough: nobody wants to read the smallest. The same ones for each mutant."""
    if NOTED or SOCKET:
        settings.register_profile(
            "mutants",
            phases=(Phase.explicit, Phase.generate),
            database=None,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutants")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A few examples for each property, also where its test asks for more."""
    for item in items:
        test = getattr(item, "obj", None)
        given = getattr(test, "_hypothesis_internal_use_settings", None)
        if given is not None:
            least = min(MOST_EXAMPLES, given.max_examples)
            test._hypothesis_internal_use_settings = settings(given, max_examples=least)  # type: ignore


# --- unchanged ----------------------------------------------------------------------------------------


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in STARTS:
        STARTING.update(current)


if NOTED:
    sys.addaudithook(_heard)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if NOTED:
        from coverage import Coverage

        measuring = Coverage.current()
        assert measuring is not None, "coverage run -m pytest"
        measuring.switch_context(item.nodeid)
        current[:] = [item.nodeid]
    begin = time.monotonic()
    done = yield
    SECONDS[item.nodeid] = time.monotonic() - begin
    return done


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        FAILED.add(report.nodeid)


def pytest_sessionfinish() -> None:
    if NOTED:
        passed = {name: each for name, each in SECONDS.items() if name not in FAILED}
        noted = {"seconds": passed, "failed": sorted(FAILED), "starting": sorted(STARTING)}
        Path(NOTED).write_text(json.dumps(noted), "utf-8")


# --- changed ------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    if not SOCKET:
        return None
    if session.testsfailed:  # while they were collected
        return True
    for name in os.environ["MUTANTS_IMPORTS"].split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with socket.socket(fileno=int(SOCKET)) as ours, ours.makefile("rw", encoding="utf-8") as channel:
        print("collected", file=channel, flush=True)
        for line in channel:
            print(_status(session, json.loads(line)), file=channel, flush=True)
    return True


def _status(session: pytest.Session, request: dict[str, Any]) -> int:
    """The exit code of a process of its own that runs the tests, and ends with all that it started."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            status = _tested(session, request)
        finally:
            os._exit(status)

    def ended(number: int, frame: FrameType | None) -> None:
        os.killpg(child, signal.SIGKILL)
        os._exit(1)

    signal.signal(signal.SIGTERM, ended)
    _, status = os.waitpid(child, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def _tested(session: pytest.Session, request: dict[str, Any]) -> int:
    exchange(request["path"], request["was"], request["now"])
    known = {item.nodeid: item for item in session.items}
    items = [known[name] for name in request["seconds"] if name in known]
    for item, following in zip(items, [*items[1:], None], strict=True):
        # SIGALRM ends the process: a test may take longer on a busy machine, but not for ever.
        signal.setitimer(signal.ITIMER_REAL, 30 + 10 * request["seconds"][item.nodeid])
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if FAILED:
            return 1
    return 0


def exchange(path: str, was: str, now: str) -> None:
    """Gives every function of a file that is loaded its new code."""
    new = dict(_pairs(*(compile(code, path, "exec", dont_inherit=True) for code in (was, now))))
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__code__.co_filename == path and each.__code__ in new:
            each.__code__ = new[each.__code__]


def _pairs(was: CodeType, now: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Code objects of two versions of a file that stand for each other, and differ."""
    if was != now:
        yield was, now
    inner = [[each for each in code.co_consts if isinstance(each, CodeType)] for code in (was, now)]
    if len(inner[0]) == len(inner[1]):
        for left, right in zip(*inner, strict=True):
            yield from _pairs(left, right)
