"""For `mutants.py`: which test runs, for coverage's contexts; its seconds; which tests go first."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SECONDS: dict[str, float] = {}


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


def pytest_sessionfinish() -> None:
    if "MUTANTS_SECONDS" in os.environ:
        Path(os.environ["MUTANTS_SECONDS"]).write_text(json.dumps(SECONDS), "utf-8")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "MUTANTS_FIRST" in os.environ:
        first = set(json.loads(Path(os.environ["MUTANTS_FIRST"]).read_text("utf-8")))
        items.sort(key=lambda item: item.nodeid not in first)
