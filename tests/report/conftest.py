"""Runs that tests of reports share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vflc_runtime.run.train import TrainOptions, train

from vflc.cli.main import run
from vflc.driver import compile_spec


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The project of `vflc init`, its bundle, and a run of two epochs: `folder`, `data`, `bundle`, `run`."""
    folder = tmp_path_factory.mktemp("reported")
    assert run(["init", str(folder)]) == 0
    data = {party: str(folder / "data" / f"{party}.csv") for party in ("bank", "shop")}
    compile_spec(folder / "model.vfl").write(folder / "bundle")
    options = TrainOptions(threads=1, epochs=2, validation=0.2)
    train(folder / "bundle", data, folder / "run", options)  # type: ignore[arg-type]
    return {"folder": folder, "data": data, "bundle": folder / "bundle", "run": folder / "run"}


@pytest.fixture
def options(project: dict[str, Any]) -> list[str]:
    """`--data` of both parties."""
    return [word for party, path in project["data"].items() for word in ("--data", f"{party}={path}")]


@pytest.fixture
def copied(project: dict[str, Any], tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    import shutil

    return Path(shutil.copytree(project["run"], tmp_path / "copied"))
