"""SplitREC's formulas, written down once more in numpy, against what vflc computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from specs.examples import EXAMPLES, dataset, prepared, session

from vflc.driver import compile_spec

Array = np.ndarray[Any, Any]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def multi_hot(ids: Array, rows: int) -> Array:
    ids = ids.reshape(len(ids), -1)
    return (ids[..., None] == np.arange(rows)).sum(1).astype(float)


class Weights:
    """Layers in the order in which the spec makes them."""

    def __init__(self, weights: dict[str, Array], prefix: str) -> None:
        self.layers = [
            (kernel, weights[name.removesuffix("kernel") + "bias"])
            for name, kernel in weights.items()
            if name.startswith(prefix) and name.endswith("kernel")
        ]

    def sized(self, *shape: int) -> list[tuple[Array, Array]]:
        return [layer for layer in self.layers if layer[0].shape == shape]


def apply(layer: tuple[Array, Array], x: Array) -> Array:
    return x @ layer[0] + layer[1]


def bundle_rows(session_: Any) -> dict[str, int]:
    """How many ids each feature has, from encoders.json."""
    from vflc_runtime.run import loading

    parties = loading.encoders(session_.bundle)["parties"]
    return {
        f"{party}.{column['name']}": column["rows"]
        for party, table in parties.items()
        for column in table["columns"]
        if column["kind"] == "feature"
    }


def test_deepfm_is_the_published_formula(tmp_path: Path):
    trained = session("deepfm_splitrec", tmp_path / "bundle", precision="float64")
    data = dataset(trained, prepared("deepfm_splitrec", tmp_path / "data", "--generate", 300))
    for step in range(3):  # so that no bias is zero any more
        trained.step(data.batch(np.arange(step * 64, step * 64 + 64)))
    batch = data.batch(np.arange(200, 300))
    weights, rows = trained.weights(), bundle_rows(trained)
    assert rows == {
        "alice.UserID": 6040, "alice.Gender": 3, "alice.Age": 8, "alice.Occupation": 22,
        "bob.MovieID": 3952, "bob.Genres": 19,
    }  # fmt: skip
    sums, squares, outs = [], [], []
    for party, prefix in (("alice", "a."), ("bob", "b.")):
        fields = [name for name in rows if name.startswith(party)]
        hot = [multi_hot(batch[name], rows[name]) for name in fields]
        layers = Weights(weights, prefix)
        e = [apply(layers.sized(x.shape[1], 16)[0], x) for x in hot]
        x = np.concatenate(hot, axis=1)
        first = apply(layers.sized(x.shape[1], 1)[0], x)
        width = 16 * len(fields)
        hidden = relu(apply(layers.sized(width, 256)[0], np.concatenate(e, axis=1)))
        outs.append(relu(apply(layers.sized(256, 32)[0], hidden)))
        sums.append(np.sum(e, axis=0))
        squares.append(np.sum(np.square(e), axis=(0, 2))[:, None] + first)
    top = Weights(weights, "deep")
    h = np.concatenate(outs, axis=1)
    for shape in ((64, 256), (256, 256), (256, 32)):
        h = relu(apply(top.sized(*shape)[0], h))
    deep = apply(top.sized(32, 1)[0], h)
    fm = 0.5 * (np.square(sums[0] + sums[1]).sum(1, keepdims=True) - squares[0] - squares[1])
    np.testing.assert_allclose(trained.predict(batch)["liked"], sigmoid(deep + fm), rtol=1e-10)


def test_the_stopped_sum_of_factors_gets_no_gradient_and_sixteen_floats_stay_home():
    edges = compile_spec(EXAMPLES["deepfm_splitrec"]).manifest["edges"]
    floats = {edge["id"]: edge["bytes_per_row"] // 4 for edge in edges}
    assert floats == {
        "a.base_out": 32, "a.x_sum": 16, "a.x_sq": 1, "a.base_out.gradient": 32, "a.x_sq.gradient": 1,
    }  # fmt: skip


def test_mmoe_is_the_published_formula(tmp_path: Path):
    trained = session("mmoe_splitrec", tmp_path / "bundle", precision="float64")
    data = dataset(trained, prepared("mmoe_splitrec", tmp_path / "data", "--generate", 300))
    for step in range(3):
        trained.step(data.batch(np.arange(step * 64, step * 64 + 64)))
    batch = data.batch(np.arange(200, 300))
    weights, rows = trained.weights(), bundle_rows(trained)
    fuse = {name: w for name, w in weights.items() if not name.startswith(("a.", "b."))}
    assert sum(w.size for w in fuse.values()) == 7424
    outs = []
    for party, prefix, width, units in (("alice", "a.", 9, 32), ("bob", "b.", 8, 20)):
        fields = [name for name in rows if name.startswith(party)]
        layers = Weights(weights, prefix).layers
        each = [layer for layer in layers if layer[0].shape[1] == width]
        e = [apply(each[i], multi_hot(batch[name], rows[name])) for i, name in enumerate(fields)]
        (last,) = (layer for layer in layers if layer[0].shape == (width * len(fields), units))
        outs.append(relu(apply(last, np.concatenate(e, axis=1))))
    h = np.concatenate(outs, axis=1)
    assert h.shape[1] == 52
    experts = Weights(weights, "experts")
    values = [
        relu(apply(second, relu(apply(first, h))))
        for first, second in zip(experts.sized(52, 32), experts.sized(32, 16), strict=True)
    ]
    assert len(values) == 3
    predicted = trained.predict(batch)
    for task, name in (("income", "income_50k"), ("married", "never_married")):
        ((kernel, bias),) = Weights(weights, f"{task}_gate").layers
        gate = softmax(h @ kernel + bias)
        mixed = sum(gate[:, [i]] * values[i] for i in range(3))
        tower = Weights(weights, f"{task}.").layers
        (first,) = (x for x in tower if x[0].shape == (16, 12))
        (last,) = (x for x in tower if x[0].shape == (12, 1))
        expected = sigmoid(apply(last, relu(apply(first, mixed))))
        np.testing.assert_allclose(predicted[name], expected, rtol=1e-10)
