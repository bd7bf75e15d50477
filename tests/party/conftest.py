"""A run that takes a while, for tests that need one. Whatever comes of a test, no party stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import processes
import pytest
from partying import compiled, train_alone
from specs.examples import prepared, text_of


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    yield
    processes.end_all()


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Tables, bundle, and the run of one process: `sources`, `bundle`, `alone`."""
    folder = tmp_path_factory.mktemp("example")
    sources = prepared("deepfm", folder / "data", "--generate", 1600)
    bundle = compiled("deepfm", text_of("deepfm", small=True), folder / "bundle")
    alone = train_alone(bundle, sources, folder / "alone", processes.OPTIONS)
    return {"sources": sources, "bundle": bundle, "alone": alone}


@pytest.fixture
def two(example: dict[str, Any], tmp_path: Path) -> list[processes.Party]:
    """alice, who listens, and bob, who dials; not started."""
    deploy = processes.write_deploy(tmp_path, example["sources"])
    return [
        processes.Party(name, example["bundle"], deploy, tmp_path / name, processes.FLAGS)
        for name in ("alice", "bob")
    ]
