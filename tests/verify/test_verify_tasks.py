"""Losses that compare rows, order classes, and leave rows out: the same by ONNX and Keras, split and not."""

from __future__ import annotations

from pathlib import Path

from verify.verifying import KERAS, crosswise

SPEC = """
party alice {
  key ID
  feature City: string -> hash(20)
}
party bob {
  key ID
  feature Item: int -> index(50)
  column  Rating: int
  column  User: int
  label   liked = Rating > 3 -> masked -> balanced
  label   Score: float -> standardize -> masked
  label   star: int -> vocab(1..5) -> masked
  label   L{1..2}: int
  weight  W: float
}
u = embed(alice.City, dim = 4)
fuse at bob {
  v     = embed(bob.Item, dim = 4)
  other = sampled(v, 2)
  joint = mlp(concat(u, v), [8])
  logit = dense(joint, 1)
  y     = dense(joint, 1)
  wide  = softplus(dense(joint, 1))
  rank  = dense(joint, 1)
  many  = dense(joint, 2)
  near  = other @ u
}
cuts = thresholds(5)
predict liked = sigmoid(logit)
predict Score = y
predict star = class_shares(rank, cuts)
predict L{1..2} = sigmoid(many)
objective bce(logit, bob.liked, smoothing = 0.1, weight = bob.W) + 0.5 * gaussian_nll(y, wide, bob.Score)
objective ordinal(rank, bob.star, cuts) + bce(many, bob.L{1..2}) + 0.1 * bpr(dot(u, v), near)
objective 0.1 * triplet(u, v, other, margin = 0.5) + 0.1 * info_nce(u, v) + 0.1 * info_nce(u, v, other)
train { metrics gauc by User, lift(0.2) }
release alice { to bob: City }
release bob { to alice: liked, has_liked, even_liked, Item, Score, star, L{1..2}, W }
"""


def test_losses_are_the_same_in_ways_that_differ_in_everything(tmp_path: Path) -> None:
    for each in crosswise(SPEC, tmp_path, KERAS):
        assert each.within, each
