"""A weight whose gradient is rounding, such as a bias before `batch_norm`: where it goes tells nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from verify.verifying import KERAS, verify, worst, wrong_tanh
from vflc_runtime.verify import LIMITS

SPEC = """
party alice {
  key ID
  feature user: int -> index(9)
  feature age: float
  feature height: float
}
party bob {
  key ID
  label liked: int
}
all = concat(alice.age, alice.height, flatten(embed(alice.user, dim = 3)))
a = batch_norm(dense(all, 3))
fuse at bob {
  logit = dense(dense(a, 4, activation = tanh), 1)
}
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train { optimizer OPTIMIZER
 batch 16 }
release alice { to bob: user, age, height }
release bob { to alice: liked }
"""
IDLE = "a.dense.bias"
FEW = ("--precision", "float32", "--steps", "25", "--rows", "200", "--batch", "16")


def spec(folder: Path, optimizer: str) -> Path:
    path = folder / "idle.vfl"
    path.write_text(SPEC.replace("OPTIMIZER", optimizer))
    return path


@pytest.mark.parametrize(
    ("optimizer", "engines"),
    [
        ("adam(lr = 0.01)", "onnx,keras" if KERAS else "onnx"),
        ("rmsprop(lr = 0.01, momentum = 0.5)", "onnx"),
        ("sgd(lr = 0.5)", "onnx"),
    ],
)
def test_a_bias_that_only_rounding_moves_is_held(tmp_path: Path, optimizer: str, engines: str) -> None:
    ended = verify(spec(tmp_path, optimizer), "--json", "--engines", engines, *FEW)
    assert ended.code == 0, ended.stderr or worst(ended.found)
    (share,) = (found := ended.found["precisions"]["float32"]["idle_weights"]).values()
    assert list(found) == [IDLE] and 0 < share < LIMITS["float32"]


@pytest.mark.skipif(not KERAS, reason="tensorflow is not installed")
def test_a_gradient_of_another_weight_that_is_wrong_by_a_thousandth_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_tanh(monkeypatch)
    ended = verify(spec(tmp_path, "sgd(lr = 0.5)"), "--json", *FEW)
    assert ended.code == 1 and list(ended.found["precisions"]["float32"]["idle_weights"]) == [IDLE]
    assert {"weight"} <= {difference["kind"] for _, difference in worst(ended.found)["float32"]}
