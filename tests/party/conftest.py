"""Whatever comes of a test, no party of it stays."""

from __future__ import annotations

from collections.abc import Iterator

import processes
import pytest


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    yield
    processes.end_all()
