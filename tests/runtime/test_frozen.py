"""`train { freeze … }`: frozen weights keep their bits, and nothing crosses for their gradients alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from vflc_runtime.run.opened import open_run
from vflc_runtime.run.train import TrainOptions, train

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source

SPEC = """
party a {{ key id  feature x: float  feature c: string -> hash(9) }}
party b {{ key id  feature y: float  label t: float }}
low = batch_norm(dense(concat(a.x, embed(a.c, dim = 3)), 4))
other = dense(b.y, 2)
out = dense(concat(low, other), 1) at b
predict t = out
objective mse(out, b.t)
release a {{ to b: x, c }}
release b {{ to a: y, t }}
train {{ batch 8  epochs 2  {} }}
"""


def tables() -> dict[str, pa.Table]:
    rng, keys = np.random.default_rng(2), list(range(40))
    x, y = rng.normal(size=(2, 40))
    return {
        "a": pa.table({"id": keys, "x": x, "c": [str(i) for i in rng.integers(0, 5, 40)]}),
        "b": pa.table({"id": keys, "y": y, "t": x - y}),
    }


def test_frozen_weights_keep_their_bits(tmp_path: Path) -> None:
    found = {}
    for name, setting in (("free", ""), ("low", "freeze low"), ("bias", "freeze *.bias, other")):
        compiled = compile_source(SourceText("m.vfl", SPEC.format(setting)))
        compiled.write(tmp_path / f"{name}.bundle")
        options = TrainOptions(threads=1, steps=1)
        first = train(tmp_path / f"{name}.bundle", tables(), tmp_path / f"{name}.first", options)
        last = train(tmp_path / f"{name}.bundle", tables(), tmp_path / name, TrainOptions(threads=1))
        weights = [open_run(result.folder).weights() for result in (first, last)]
        found[name] = {n: np.array_equal(v, weights[1][n]) for n, v in weights[0].items()}
        crossing = [edge["phase"] for edge in compiled.manifest["edges"]]
        assert ("backward" in crossing) == (name != "low")
    assert {n for n, same in found["free"].items() if same} == set()
    assert {n for n, same in found["low"].items() if same} == {n for n in found["low"] if n.startswith("low")}
    kept = {n for n in found["bias"] if n.endswith("bias") or n.startswith("other")}
    assert {n for n, same in found["bias"].items() if same} == kept


def test_a_frozen_model_trains_as_its_rest_alone_does(tmp_path: Path) -> None:
    """Of the rest the weights are those of a run in which the frozen ones get no steps: a rate of 0."""
    runs = []
    for setting in ("freeze low", "optimizer sgd(lr = 0) for low  optimizer sgd(lr = 0.1)"):
        setting += "  optimizer sgd(lr = 0.1)" * setting.startswith("freeze")
        spec = SPEC.replace("batch_norm(dense(concat(a.x, embed(a.c, dim = 3)), 4))", "dense(a.x, 4)")
        compile_source(SourceText("m.vfl", spec.format(setting))).write(tmp_path / f"{len(runs)}.bundle")
        folder = tmp_path / str(len(runs))
        train(tmp_path / f"{len(runs)}.bundle", tables(), folder, TrainOptions(threads=1))
        runs.append(open_run(folder).weights())
    for name, value in runs[0].items():
        np.testing.assert_allclose(value, runs[1][name], rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(("setting", "code"), [("freeze *", "VFL0023"), ("freeze lower", "VFL0101")])
def test_refused(setting: str, code: str) -> None:
    with pytest.raises(Refused, match=code):
        compile_source(SourceText("m.vfl", SPEC.format(setting)))


def test_a_pattern_names_a_layer_by_its_number() -> None:
    spec = SPEC.replace("out = dense(concat(low, other), 1)", "out = mlp(concat(low, other), [3, 1])")
    free, frozen = (
        compile_source(SourceText("m.vfl", spec.format(setting))).model
        for setting in ("", "freeze out.mlp.0, *.1.bias")
    )
    trained = [{weight for update in model.updates for weight in update.arrays} for model in (free, frozen)]
    assert trained[0] - trained[1] == {"out.mlp.0.kernel", "out.mlp.0.bias", "out.mlp.1.bias"}
