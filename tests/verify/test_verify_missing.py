"""Rows that a party lacks: unsplit and split, by ONNX and by Keras, are the same."""

from pathlib import Path

import pytest
from verify.verifying import KERAS, crosswise

SPEC = """
party alice {
  key ID
  missing party allowed
  feature Age:  float  -> bucketize(30, 40)
  feature City: string -> hash(10)
}
party bob {
  key ID
  feature Item:  string -> hash(20)
  feature Price: float  -> bucketize(0, 1)
  column  Rating: int
  label   liked = Rating > 3
}
a = MADE
x = concat(a, flatten(embed(bob.Item, dim = 4)))
logit = dense(mlp(x, [8]), 1)
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
release alice { to bob: Age, City }
release bob { to alice: liked, Item, Price }
train { optimizer adam(lr = 0.05) }
"""
TABLES = "flatten(embed(alice.features, dim = 4))"
CASES = {
    "computed": f"relu({TABLES})",
    "tables": TABLES,
    "rank 3": "flatten(embed(alice.features, dim = 4) + embed(bob.features, dim = 4))",
}


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("made", CASES)
def test_split_is_unsplit(made: str, many: bool, tmp_path: Path) -> None:
    text = SPEC.replace("MADE", CASES[made])
    if many:
        text = text.replace("party bob {\n  key ID", "party bob {\n  key ID\n  rows per key many")
    found = crosswise(text, tmp_path, KERAS and made == "computed" and many)
    for each in found:
        assert each.within, each
    assert {"message", "weight", "prediction", "loss"} <= {kind for each in found for kind in each.worst}


def test_a_model_that_is_pushed_down(tmp_path: Path) -> None:
    start, end = SPEC.index("a = MADE"), SPEC.index("predict")
    written = "e = concat(embed(alice.features, dim = 4), embed(bob.features, dim = 4))\n"
    text = SPEC[:start] + written + "logit = dense(mlp(flatten(e), [8, 4]), 1)\n" + SPEC[end:]
    for each in crosswise(text, tmp_path, keras=False):
        assert each.within, each


def test_two_that_may_lack_rows_and_keys_that_are_parts_of_another(tmp_path: Path) -> None:
    text = SPEC.replace("MADE", TABLES).replace("party bob {\n  key ID", "party bob {\n  key ID, Part")
    third = "party carol {\n  key Part\n  missing party allowed\n  feature Sum: float -> bucketize(0, 1)\n}\n"
    text = third + text.replace("x = concat(a,", "x = concat(a, flatten(embed(carol.Sum, dim = 3)),")
    text += "release carol { to alice, bob: Sum }\nrelease alice { to carol: Age, City }\n"
    text += "release bob { to carol: liked, Item, Price }\n"
    for each in crosswise(text, tmp_path, keras=False):
        assert each.within, each
        assert {"message", "weight", "prediction", "loss"} <= {*each.worst}
