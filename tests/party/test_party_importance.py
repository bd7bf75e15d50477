"""Permutation importance against scikit-learn's, in one process and between parties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from partying import TIMEOUT, exchange, site, together, train_together
from sklearn.inspection import permutation_importance
from sklearn.metrics import mean_squared_error
from vflc_runtime.party.apply import importance_party
from vflc_runtime.run import importance as importances
from vflc_runtime.run.importance import importance
from vflc_runtime.run.train import TrainOptions, train

import vflc
from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """
party a { key id  feature x: float  feature z: float  feature idle: float }
party b { key id  feature y: float  label t: float }

out = dense(concat(a.x, a.z, b.y), 1)
predict t = out
objective mse(out, b.t)
release a { to b: x, z }
release b { to a: y, t }
train { batch 16  epochs 30  validation 0.4  optimizer sgd(lr = 0.05) }
"""
N = 120


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("importance")
    rng = np.random.default_rng(4)
    x, z, y, idle = rng.normal(size=(4, N))
    keys = [f"{i:03}" for i in range(N)]
    tables = {
        "a": pa.table({"id": keys, "x": x, "z": z, "idle": idle}),
        "b": pa.table({"id": keys, "y": y, "t": 3 * x + y + 0.01 * z}),
    }
    compile_source(SourceText("m.vfl", SPEC)).write(folder / "bundle")
    train(folder / "bundle", tables, folder / "run", TrainOptions(threads=1))
    return {"folder": folder, "tables": tables, "columns": np.stack([x, z, y], axis=1)}


def test_it_is_what_scikit_learn_finds(made: dict[str, Any]) -> None:
    found = importance(made["folder"] / "run", made["tables"], repeats=40, threads=1)
    assert found["validation"] and found["rows"] == 48
    weights = vflc.load(made["folder"] / "run").weights
    kernel, bias = weights["out.dense.kernel"].reshape(-1), weights["out.dense.bias"]

    class Model:
        def fit(self, *_: Any) -> None: ...

        def predict(self, columns: Any) -> Any:
            return columns @ kernel + bias

    def loss(model: Model, columns: Any, t: Any) -> float:
        return -mean_squared_error(t, model.predict(columns))

    from vflc_runtime.data.batches import split

    rows = split(N, 0, 0.4)[1]
    columns, t = made["columns"][rows], made["tables"]["b"]["t"].to_numpy()[rows]
    expected = permutation_importance(Model(), columns, t, scoring=loss, n_repeats=40, random_state=1)
    by_name = {(each["party"], each["feature"]): each for each in found["features"]}
    for i, name in enumerate([("a", "x"), ("a", "z"), ("b", "y")]):
        ours, spread = by_name[name]["importance"]["loss"], expected.importances_std[i]
        assert abs(ours - expected.importances_mean[i]) < 1.2 * spread + 1e-4
        assert by_name[name]["deviation"]["loss"] == pytest.approx(spread, rel=0.6)
    assert by_name["a", "idle"]["importance"]["loss"] == 0.0  # nobody uses it
    assert by_name["a", "idle"]["deviation"]["loss"] == 0.0
    assert [each["party"] for each in found["parties"]] == ["a", "b"]
    assert found["parties"][0]["importance"]["loss"] > found["parties"][1]["importance"]["loss"] > 0
    assert set(found["results"]) == {"loss"}


def test_other_rows_count_all_and_python_has_a_table(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {party: table.slice(0, 50) for party, table in made["tables"].items()}
    run = vflc.load(made["folder"] / "run")
    table = run.importance(other, repeats=3, seed=2)
    assert next(iter(table))["feature"] == "x" and len(table) == 6
    assert run.importance(other, repeats=3, seed=2).rows == table.rows
    assert importance(made["folder"] / "run", other, repeats=1)["rows"] == 50
    monkeypatch.setattr(importances, "permutation", pytest.fail)  # it is known before anything is exchanged
    with pytest.raises(KeyError, match="no result 'auc'; results: loss"):
        run.importance(other, repeats=1, metric="auc")


def test_parties_find_the_same_with_the_messages_of_an_evaluation(
    made: dict[str, Any], tmp_path: Path
) -> None:
    bundle, tables = made["folder"] / "bundle", made["tables"]
    ran = train_together(bundle, tables, tmp_path, TrainOptions(epochs=2))
    alone = train(bundle, tables, tmp_path / "alone", TrainOptions(threads=1, epochs=2))
    other = {party: table.slice(0, 60) for party, table in tables.items()}
    expected = importance(alone.folder, other, repeats=2, threads=1)
    meeting = exchange(bundle)

    def one(place: str) -> Any:
        here = site(place, other.get(place), lambda manifest, rows: meeting.join(place, TIMEOUT))
        return lambda: importance_party(ran[place].folder, here, 2, None)

    found = together({place: one(place) for place in ("a", "b")})
    assert found["b"]["features"] == expected["features"] and found["b"]["results"] == expected["results"]
    assert found["a"]["results"] == {} and found["a"]["features"][0] == {
        "party": "a", "feature": "x", "importance": {}, "deviation": {},
    }  # fmt: skip
