"""The measures: what counts as a difference, and which rows are too near a non-smooth point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vflc_runtime.engines.initial import generator
from vflc_runtime.verify.differences import LIMITS, Comparison, compare
from vflc_runtime.verify.non_smooth import MARGIN, Chooser, NonSmoothPoints, undecided
from vflc_runtime.verify.recording import Recording, RecordingKey

from vflc import driver
from vflc.emit.onnx.non_smooth import non_smooth_points


def compared(folder: Path, precision: str, *values: dict[RecordingKey, Any]) -> Comparison:
    recordings = {}
    for index, each in enumerate(values):
        recordings[str(index)] = recording = Recording(folder / str(index))
        for key, array in each.items():
            recording.add(key, np.asarray(array))
    (comparison,) = compare(recordings, precision)
    return comparison


def test_a_recording_gives_back_what_it_was_given(tmp_path: Path) -> None:
    with Recording(tmp_path / "x") as recording:
        value = np.arange(6.0).reshape(2, 3)
        recording.add(RecordingKey("weight", "w", None), value.T)
        recording.add(RecordingKey("weight", "w", 0), np.float32(3))
        value[:] = 0
        np.testing.assert_array_equal(
            recording.get(RecordingKey("weight", "w", None)), np.arange(6.0).reshape(2, 3).T
        )
        assert recording.get(RecordingKey("weight", "w", 0)).dtype == np.float32
        assert RecordingKey("weight", "v", 0) not in recording and len(list(recording)) == 2


def test_float64_is_absolute_up_to_one_and_relative_beyond(tmp_path: Path) -> None:
    small, large = RecordingKey("weight", "small", None), RecordingKey("weight", "large", None)
    found = compared(tmp_path, "float64", {small: [0.5, 0.1]}, {small: [0.5, 0.1 + 1e-8]}).worst["weight"]
    assert found is not None and found.measure == pytest.approx(1e-8) == pytest.approx(found.absolute)
    found = compared(tmp_path, "float64", {large: [-1e6]}, {large: [-1e6 - 1]}).worst["weight"]
    assert found is not None and found.measure == pytest.approx(1e-6) and found.absolute == 1


def test_float32_is_relative_to_the_largest_norm_that_the_tensor_ever_had(tmp_path: Path) -> None:
    first, later = RecordingKey("message", "edge", 1), RecordingKey("message", "edge", 2)
    ways = {first: [3.0, -4.0], later: [1e-7]}, {first: [3.0, -4.0], later: [3e-7]}
    found = compared(tmp_path, "float32", *ways).worst["message"]
    assert found is not None and found.step == 2
    assert found.absolute == pytest.approx(2e-7) and found.measure == found.relative == pytest.approx(4e-8)


def test_one_wrong_number_of_a_large_tensor_is_beyond_the_limit(tmp_path: Path) -> None:
    key, ones = RecordingKey("weight", "table", None), np.ones(16_000_000, np.float32)
    wrong = ones.copy()
    wrong[77] = 0.0
    found = compared(tmp_path, "float32", {key: ones}, {key: wrong}).worst["weight"]
    assert found is not None and found.absolute == 1 and found.measure > LIMITS["float32"]


def test_the_worst_of_a_kind_is_named(tmp_path: Path) -> None:
    a, b, loss = (
        RecordingKey("weight", "a", None),
        RecordingKey("weight", "b", None),
        RecordingKey("loss", "bce", 3),
    )
    comparison = compared(
        tmp_path, "float32", {a: [1.0], b: [1e-3], loss: [1.0]}, {a: [1.001], b: [2e-3], loss: [1.0]}
    )
    assert comparison.worst["weight"] is not None and comparison.worst["weight"].name == "b"
    assert comparison.worst["loss"] is not None and comparison.worst["loss"].measure == 0
    assert comparison.worst["message"] is None, "there were none"


@pytest.mark.parametrize("other", [[1.0, 2.0], [np.nan]], ids=["shape", "nan"])
def test_what_cannot_be_compared_is_infinitely_far(tmp_path: Path, other: list[float]) -> None:
    key = RecordingKey("message", "edge", 1)
    found = compared(tmp_path, "float64", {key: [1.0]}, {key: other}).worst["message"]
    assert found is not None and found.absolute == np.inf and not found.measure <= 1e-9


def test_an_optimizer_that_rows_follow_nearly_is_measured_by_the_movement(tmp_path: Path) -> None:
    before, after, loss = (
        RecordingKey("weight", "w", 0),
        RecordingKey("weight", "w", None),
        RecordingKey("loss", "bce", 1),
    )
    ways = (
        {before: [2.0, 0.0], after: [2.0, 0.01], loss: [0.5]},
        {after: [2.0, 0.01 + 5e-9], loss: [0.5 + 1e-7]},
    )
    recordings = {}
    for index, each in enumerate(ways):
        recordings[str(index)] = recording = Recording(tmp_path / str(index))
        for key, array in each.items():
            recording.add(key, np.asarray(array))
    (strict,) = compare(recordings, "float64")
    (nearly,) = compare(recordings, "float64", close={("0", "1")})
    assert not strict.within and strict.limit == 1e-9
    assert nearly.within and nearly.limit == 1e-6
    weight, other = nearly.worst["weight"], nearly.worst["loss"]
    assert weight is not None and weight.measure == pytest.approx(5e-7)
    assert other is not None and other.measure == pytest.approx(1e-7)


def test_rows_near_a_kink() -> None:
    near = MARGIN / 2
    a = np.array([[1.0, -1.0], [near, 1.0], [0.0, 1.0], [0.5, -near]])
    assert undecided(a, 0.0).tolist() == [False, True, False, True], "0 itself is 0 by construction"
    assert undecided(1000 * a, 0.0).tolist() == [False, True, False, True], "by the values' own scale"
    assert undecided(a + 7, np.full((4, 1), 7.0)).tolist()[0] is False


SPEC = """
party alice {
  key ID
  feature x: float
  feature y: float
}
party bob {
  key ID
  column stars: float
  label liked = stars > 3
}
a = relu(dense(flatten(embed(alice.features, dim = 2)), 3))
fuse at bob {
  logit = dense(dropout(maximum(a, 0.25 - a), 0.5), 1)
}
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train { optimizer sgd(lr = 0.1) }
release alice { to bob: x, y }
release bob { to alice: liked }
"""


def test_the_graph_gives_what_decides_the_gradients(tmp_path: Path) -> None:
    spec = tmp_path / "kinked.vfl"
    spec.write_text(SPEC)
    found = non_smooth_points(driver.unsplit_model(spec), "float32")
    assert found is not None and len(found["pairs"]) == 2, "relu and maximum; dropout compares exact numbers"
    assert found["inputs"] == ("alice.x", "alice.y") and not found["randoms"]
    assert all(name.startswith("a.") for name in found["weights"])


def test_rows_near_a_kink_are_exchanged_for_others(tmp_path: Path) -> None:
    spec = tmp_path / "kinked.vfl"
    spec.write_text(SPEC.replace("maximum(a, 0.25 - a)", "a"))
    found = non_smooth_points(driver.unsplit_model(spec), "float32")
    assert found is not None
    numbers = generator("rows").normal(size=(50, 1)).astype(np.float32)
    numbers[7] = 1e-7  # of x as of y: whatever the kernel, the activations are near 0
    weights = {name: np.ones(2, np.float32) for name in ("a.x", "a.y")}
    weights |= {"a.dense.kernel": np.ones((4, 3), np.float32), "a.dense.bias": np.zeros(3, np.float32)}
    choose = Chooser(
        NonSmoothPoints(**found), lambda rows: dict.fromkeys(found["inputs"], numbers[rows]), 50, 0
    )
    rows = choose(np.arange(10), 1, weights)
    assert rows[:7].tolist() == list(range(7)) and rows[7] != 7 and rows[8:].tolist() == [8, 9]
    assert choose(np.arange(10), 1, weights).tolist() == rows.tolist(), "the same at every call"
