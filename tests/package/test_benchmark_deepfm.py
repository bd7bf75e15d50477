"""The benchmark against Keras times two sides that train alike, and none that do not."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from vflc.driver import compile_spec

ROOT = Path(__file__).resolve().parents[2]
ROWS, BATCH = 300, 32

pytestmark = pytest.mark.skipif(find_spec("tensorflow") is None, reason="tensorflow is not installed")


@pytest.fixture
def deepfm(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("deepfm")


@pytest.fixture
def sides(deepfm: Any, tmp_path: Path) -> tuple[Any, Any]:
    compile_spec(deepfm.SPEC).write(tmp_path / "bundle")
    inputs = deepfm.encoded_rows(tmp_path / "bundle", ROWS)
    # Our engine makes TensorFlow deterministic for the whole process, which then asks for a seed.
    import_module("keras").utils.set_random_seed(0)
    return deepfm.Ours(tmp_path / "bundle", inputs, BATCH), deepfm.Keras(inputs, BATCH)


def test_both_sides_train_alike(deepfm: Any, sides: tuple[Any, Any]) -> None:
    deepfm.check_same(*sides, ROWS, BATCH)
    assert sides[0].session.steps == deepfm.STEPS


def another_rate(keras: Any) -> Any:
    return keras.optimizers.Adam(0.00101)


def squares_before_sums(keras: Any) -> Any:
    """As Keras has it for embeddings that a batch reads more than once."""
    return keras.optimizers.Adam(0.001)


@pytest.mark.parametrize("mistake", [another_rate, squares_before_sums])
def test_what_trains_otherwise_is_not_timed(deepfm: Any, sides: tuple[Any, Any], mistake: Any) -> None:
    sides[1].model.compile(mistake(import_module("keras")), sides[1].model.loss)
    with pytest.raises(SystemExit, match=r"do not train the same model: at step [2-9]"):
        deepfm.check_same(*sides, ROWS, BATCH)
