"""For `mutants.py`: which test runs, as coverage's context; what passes, how long; which tests go first."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SECONDS: dict[str, float] = {}
FAILED: set[str] = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if "MUTANTS_SECONDS" in os.environ:
        from coverage import Coverage

        measuring = Coverage.current()
        assert measuring is not None, "coverage run -m pytest"
        measuring.switch_context(item.nodeid)
    begin = time.monotonic()
    done = yield
    SECONDS[item.nodeid] = time.monotonic() - begin
    return done


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        FAILED.add(report.nodeid)


def pytest_sessionfinish() -> None:
    if "MUTANTS_SECONDS" in os.environ:
        passed = {name: each for name, each in SECONDS.items() if name not in FAILED}
        Path(os.environ["MUTANTS_SECONDS"]).write_text(json.dumps([passed, sorted(FAILED)]), "utf-8")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "MUTANTS_FIRST" in os.environ:
        first, failed = map(set, json.loads(Path(os.environ["MUTANTS_FIRST"]).read_text("utf-8")))
        items[:] = [item for item in items if item.nodeid not in failed]
        items.sort(key=lambda item: item.nodeid not in first)
