"""A party with a key and nothing else takes part in the join, as a party of its own too."""

from pathlib import Path

import pyarrow as pa
import pytest
from partying import compiled, tensors, train_alone, train_together
from vflc_runtime.errors import Failure
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions

SPEC = """
party host { key "host id" }
party guest {
  key ID
  feature Age: float -> standardize
  label y: int
}
logit = dense(mlp(guest.Age, [4]), 1)
predict y = sigmoid(logit)
objective bce(logit, guest.y)
"""
OPTIONS = TrainOptions(epochs=2, batch=16)
GUEST = pa.table(
    {"ID": [*range(60)], "Age": [float(i % 7) for i in range(60)], "y": [i % 2 for i in range(60)]}
)
HOST = pa.table({"host id": [str(i) for i in range(0, 90, 2)], "Age": [0.0] * 45})


def test_its_rows_decide_which_are_trained_on_and_predicted(tmp_path: Path) -> None:
    guest = GUEST.set_column(2, "y", pa.array([i // 2 % 2 for i in range(60)]))
    bundle = compiled("key", SPEC, tmp_path / "bundle")
    alone = train_alone(bundle, {"host": HOST, "guest": guest}, tmp_path / "alone", OPTIONS)
    kept = guest.take([*range(0, 60, 2)])
    joined = {"host": pa.table({"host id": kept["ID"]}), "guest": kept}
    beforehand = train_alone(bundle, joined, tmp_path / "beforehand", OPTIONS)
    assert tensors(alone, "guest") == tensors(beforehand, "guest")
    predict(alone, {"host": HOST, "guest": guest}, tmp_path / "all.csv")
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 1 + 30

    found = train_together(bundle, joined, tmp_path / "apart", OPTIONS)
    assert not any(isinstance(each, BaseException) for each in found.values()), found
    assert tensors(tmp_path / "apart" / "guest", "guest") == tensors(alone, "guest")


def test_its_table_is_asked_for(tmp_path: Path) -> None:
    bundle = compiled("key", SPEC, tmp_path / "bundle")
    with pytest.raises(Failure, match="no data is given for host") as caught:
        train_alone(bundle, {"guest": GUEST}, tmp_path / "alone", OPTIONS)
    assert caught.value.code == "VFL0618"
