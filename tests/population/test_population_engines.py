"""The Keras engine against the ONNX engine, round by round; what each of them is given is the same."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pyarrow.parquet as pq
import pytest
from population.population_testing import compiled, ratings, rounds_of, table
from population.reference import GLOBALS, spec
from vflc_runtime.bundle.folder import of_population, open_any
from vflc_runtime.errors import Failure
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions, train

from vflc.driver import compile_spec

SETTINGS = "rounds 2  cohort 6  batch 3  test 0.2  validation 0.0  metrics rmse"
CASES = {
    "default": SETTINGS,
    "momentum and lazy Adam, joint and kept": f"{SETTINGS}  rebuild sgd(0.1, momentum = 0.5)  "
    "client adam(0.02, lazy = true)  server adam(0.1)  client_epochs 2  joint true  keep_local true",
}
TOLERANCE = {"float32": {"rtol": 1e-4, "atol": 1e-6}, "float64": {"rtol": 1e-9, "atol": 1e-9}}

pytestmark = pytest.mark.skipif(find_spec("tensorflow") is None, reason="tensorflow is not installed")


@pytest.mark.parametrize(("name", "precision"), [*zip(CASES, TOLERANCE, strict=True)])
def test_a_round_is_the_same_by_keras_and_by_onnx(name, precision, tmp_path):
    users = table(ratings())
    text = spec(CASES[name], 0.3, 0.2)
    ours = [rounds_of(compiled(text, tmp_path, precision, engine), users) for engine in ("onnx", "keras")]
    near = TOLERANCE[precision]
    for number in range(2):
        done = [rounds.step(number) for rounds in ours]
        assert done[0].sent == done[1].sent and done[0].examples == done[1].examples
        for score in ("loss", "rmse"):
            assert done[1].scores[score] == pytest.approx(done[0].scores[score], rel=near["rtol"])
        for weight in GLOBALS:
            a, b = (rounds.hub.weights[weight] for rounds in ours)
            assert a.dtype == b.dtype == precision
            np.testing.assert_allclose(b, a, **near, err_msg=weight)
    for weight, kept in ours[0].kept.items():
        np.testing.assert_allclose(ours[1].kept[weight], kept, **near, err_msg=weight)
    test = [rounds.measure(rounds.split.test).scores["loss"] for rounds in ours]
    assert test[1] == pytest.approx(test[0], rel=near["rtol"])


def test_gradients_are_those_of_the_tape(tmp_path):
    """The two engines differentiate in different ways: this bundle has no gradient graph for Keras."""
    found = compiled(spec(SETTINGS), tmp_path, engine="keras")
    plan, onnx = found.users, of_population(open_any(found.folder)).users
    assert plan.client.graph and onnx.client.graph
    assert [weight for _, weight in plan.client.graph.gradients] == list(GLOBALS)
    assert onnx.client.graph.gradients == ()
    assert {gradient.weight for gradient in onnx.client.gradients if gradient.rows} == {"items", "levels"}


def test_a_run_may_change_its_engine(tmp_path):
    text = spec("rounds 3  cohort 6  batch 3  server adam(0.1)  metrics rmse")
    (tmp_path / "p.vfl").write_text(text, "utf-8")
    for backends in (("onnx",), ("onnx", "keras")):
        compile_spec(tmp_path / "p.vfl", backends=backends).write(tmp_path / backends[-1])
    users = {"users": table(ratings())}
    whole = train(tmp_path / "onnx", users, tmp_path / "whole")
    train(tmp_path / "onnx", users, tmp_path / "run", TrainOptions(rounds=1))
    with pytest.raises(Failure, match="no plan for engines that run 'keras' files"):
        train(None, users, tmp_path / "run", TrainOptions(engine="keras", resume=True))
    rest = TrainOptions(rounds=3, engine="keras", resume=True)
    mixed = train(tmp_path / "keras", users, tmp_path / "run", rest)
    assert mixed.metrics["test"]["loss"] == pytest.approx(whole.metrics["test"]["loss"], rel=1e-4)
    found = [evaluate(tmp_path / "run", users, engine)["evaluation"]["rmse"] for engine in ("onnx", "keras")]
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    rows = table({"new": [(3, 4.0), (5, 1.0), (7, 2.0)]})
    for engine in ("onnx", "keras"):
        predict(tmp_path / "run", {"users": rows}, tmp_path / f"{engine}.parquet", engine, top=4)
    made = [pq.read_table(tmp_path / f"{engine}.parquet").to_pydict() for engine in ("onnx", "keras")]
    assert made[0]["item"] == made[1]["item"]
    assert made[1]["rating"] == pytest.approx(made[0]["rating"], rel=1e-4)


def test_compiling_twice_gives_the_same_files(tmp_path):
    (tmp_path / "p.vfl").write_text(spec(SETTINGS), "utf-8")
    both = [compile_spec(tmp_path / "p.vfl", backends=("onnx", "keras")) for _ in range(2)]
    assert both[0].files == both[1].files
    onnx, keras = (compile_spec(tmp_path / "p.vfl", backends=(name,)) for name in ("onnx", "keras"))
    assert onnx.manifest == keras.manifest == both[0].manifest
    assert onnx.files | keras.files == both[0].files
    assert not [name for name in keras.files if name.endswith(".onnx")]
