"""The benchmark against Keras times two sides that train alike, and none that do not."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from vflc.driver import compile_spec

ROOT = Path(__file__).resolve().parents[2]
ROWS, BATCH = 300, 32

pytestmark = pytest.mark.skipif(find_spec("tensorflow") is None, reason="tensorflow is not installed")


SPEC = ROOT / "specs" / "deepfm" / "deepfm.vfl"


@pytest.fixture(scope="module")
def contest() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield import_module("contest")


class Ours:
    """vflc, which trains once: its weights before and its losses; and rows for Keras."""

    def __init__(self, contest: Any, folder: Path) -> None:
        compile_spec(SPEC).write(folder)
        self.rows = contest.encoded_rows(folder, ROWS)
        self._side = contest.Ours(folder, self.rows, BATCH)
        self._start = {name: value.copy() for name, value in self._side.weights().items()}
        self._losses: list[float] = []

    @property
    def steps(self) -> int:
        return int(self._side.session.steps)

    def weights(self) -> dict[str, Any]:
        return self._start

    def losses(self, batches: Any) -> list[float]:
        self._losses = self._losses or [*self._side.losses(batches)]
        return self._losses


@pytest.fixture(scope="module")
def ours(contest: Any, tmp_path_factory: pytest.TempPathFactory) -> Ours:
    return Ours(contest, tmp_path_factory.mktemp("deepfm"))


@pytest.fixture
def peer(contest: Any, ours: Ours) -> Any:
    # Our engine makes TensorFlow deterministic for the whole process, which then asks for a seed.
    import_module("keras").utils.set_random_seed(0)
    peers = import_module("peers")
    side = peers.PEERS["keras"].make("deepfm", *import_module("peers.rows").deepfm(ours.rows), BATCH)
    side.model.run_eagerly = True  # ten steps take less than tracing one
    return side


def test_both_sides_train_alike(contest: Any, ours: Ours, peer: Any) -> None:
    contest.check_same(ours, {"Keras": peer}, ROWS, BATCH)
    assert ours.steps == contest.STEPS


def another_rate(keras: Any) -> Any:
    return keras.optimizers.Adam(0.00101)


def squares_before_sums(keras: Any) -> Any:
    """As Keras has it for embeddings that a batch reads more than once."""
    return keras.optimizers.Adam(0.001)


@pytest.mark.parametrize("mistake", [another_rate, squares_before_sums])
def test_what_trains_otherwise_is_not_timed(contest: Any, ours: Ours, peer: Any, mistake: Any) -> None:
    peer.model.compile(mistake(import_module("keras")), peer.model.loss, run_eagerly=True)
    with pytest.raises(SystemExit, match=r"do not train the same model: at step [2-9]"):
        contest.check_same(ours, {"Keras": peer}, ROWS, BATCH)
