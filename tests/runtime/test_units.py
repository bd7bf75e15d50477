"""Predictions and metrics are in the units of the table, rows count by their weights, classes have names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from granting import granted
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.errors import Failure
from vflc_runtime.events import silent
from vflc_runtime.export.run import export
from vflc_runtime.run import loading
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.predict import predict
from vflc_runtime.run.session import Session
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.train import TrainOptions, train

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

ROWS = 120
SPEC = """
party alice {{
  key ID
  feature Age: float -> standardize
}}
party bob {{
  key ID
  {columns}
}}
h = dense(alice.Age, 4, activation = tanh)
fuse at bob {{
  top = mlp(h, [6])
  y   = dense(top, {outputs})
}}
{predict}
train {{ optimizer adam(lr = 0.02)  batch 16  epochs 2  validation 0.25  metrics {metrics} }}
"""


def spec(columns: str, predict: str, metrics: str = "rmse, mae", outputs: int = 1) -> str:
    return granted(SPEC.format(columns=columns, predict=predict, metrics=metrics, outputs=outputs))


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    random = np.random.default_rng(11)
    age = random.normal(40, 10, ROWS)
    price = np.round(np.exp(age / 20 + random.normal(0, 0.1, ROWS)) - 4, 3)
    keys = [f"k{i:03}" for i in range(ROWS)]
    return {
        "alice": pa.table({"ID": keys, "Age": age}),
        "bob": pa.table({
            "ID": keys,
            "Price": price,
            "Grade": np.where(price > 5, "high", np.where(price > 2, "mid", "low")),
            "Level": np.where(price > 5, 2, 1),
            "W": random.integers(0, 3, ROWS).astype(float),
        }),
    }  # fmt: skip


def trained(text: str, tables: dict[str, Any], folder: Path) -> Path:
    compile_source(SourceText("m.vfl", text)).write(folder / "bundle")
    train(folder / "bundle", tables, folder / "run", TrainOptions())
    return folder / "run"


def predicted(run: Path, tables: dict[str, Any]) -> pa.Table:
    predict(run, tables, run.parent / "p.csv")
    return pyarrow.csv.read_csv(run.parent / "p.csv")


CHAINS: dict[str, Callable[[Any, dict[str, float]], Any]] = {
    "standardize": lambda z, s: z * s["std"] + s["mean"],
    "minmax": lambda z, s: z * (s["high"] - s["low"]) + s["low"],
    "standardize(mean = 2)": lambda z, s: z * s["std"] + 2,
    "log1p -> standardize": lambda z, s: CHAINS["log1p"](z * s["std"] + s["mean"], s),
    "log1p": lambda z, s: np.sign(z) * np.expm1(np.abs(z)),
    "scale(0.25)": lambda z, s: z / 0.25,
    "clip(-1, 8) -> minmax(low = -1, high = 8)": lambda z, s: z * 9 - 1,
}


@pytest.mark.parametrize("chain", CHAINS)
def test_encoders_of_a_label_are_undone(chain: str, tables: dict[str, Any], tmp_path: Path) -> None:
    """The same model is trained, and predicts in the units of the column and so are its metrics."""
    column = f"label Price: float -> {chain}"
    run = trained(spec(column, "predict Price = y\nobjective mse(y, bob.Price)"), tables, tmp_path)
    session_value = np.array(encoded_prediction(run, tables))
    state = next((each for each in saved_state(run) if each), {})
    wanted = CHAINS[chain](session_value, state)
    found = predicted(run, tables)
    assert found["Price"].to_numpy() == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    truth = tables["bob"]["Price"].to_numpy()
    if "clip" in chain:
        truth = truth.clip(-1, 8)
    scores = evaluate(run, tables)["evaluation"]
    assert scores["rmse"] == pytest.approx(np.sqrt(np.square(wanted - truth).mean()), rel=1e-4)
    assert scores["mae"] == pytest.approx(np.abs(wanted - truth).mean(), rel=1e-4)


def encoded_prediction(run: Path, tables: dict[str, Any]) -> Any:
    """What the loss compares with the encoded label, row by row, from the saved weights."""
    folder = RunFolder(run)
    bundle = folder.bundle("onnx")
    data = loading.load_trained(bundle, tables, folder.fitted(bundle), True, silent)
    w = {name: each for weights in folder.models(bundle).values() for name, each in weights.items()}
    hidden = np.tanh(data.inputs["alice.Age"] @ w["h.dense.kernel"] + w["h.dense.bias"])
    top = np.maximum(hidden @ w["top.mlp.0.kernel"] + w["top.mlp.0.bias"], 0)
    return (top @ w["y.dense.kernel"] + w["y.dense.bias"])[:, 0]


def saved_state(run: Path) -> list[Any]:
    folder = RunFolder(run)
    return list(folder.fitted(folder.bundle("onnx")).get("bob.Price", []))


def test_a_prediction_is_bound_to_a_column(tables: dict[str, Any], tmp_path: Path) -> None:
    """`of Price`: what is written, and measured, is the expression in the units of the column."""
    text = spec(
        "column Price: float\n  label Logged = log(5 + Price)",
        "predict Price = exp(y) - 5 of Price\nobjective huber(y, bob.Logged)",
    )
    run = trained(text, tables, tmp_path)
    found = predicted(run, tables)["Price"].to_numpy()
    assert found == pytest.approx(np.exp(encoded_prediction(run, tables)) - 5, rel=1e-4, abs=1e-4)
    error = found - tables["bob"]["Price"].to_numpy()
    assert evaluate(run, tables)["evaluation"]["rmse"] == pytest.approx(
        np.sqrt(np.square(error).mean()), rel=1e-4
    )
    without = {**tables, "bob": tables["bob"].select(["ID"])}
    assert predicted(run, without)["Price"].to_numpy() == pytest.approx(found), "labels are not needed"


def test_what_was_fitted_stays_at_the_label_and_is_exported(tables: dict[str, Any], tmp_path: Path) -> None:
    """The mean is in no message: it is a weight of bob that is not trained; the export has it, too."""
    text = spec("label Price: float -> standardize", "predict Price = y\nobjective mse(y, bob.Price)")
    run = trained(text, tables, tmp_path)
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert {edge.value for edge in manifest.edges.values()} == {"h", "h.gradient"}
    (state,) = saved_state(run)
    assert state is not None
    bundle = RunFolder(run).bundle("onnx")
    models = RunFolder(run).models(bundle)
    assert float(models["bob"]["bob.Price.mean"][0]) == pytest.approx(state["mean"], rel=1e-6)
    assert "bob.Price.mean" not in models["alice"]
    exported = export(run, tmp_path / "export", merged=True, sources=tables)
    (model,) = exported.models.values()
    assert model.outputs == ["Price"], "the last value of the graph is the one in the table's units"


def test_classes_are_written_by_name(tables: dict[str, Any], tmp_path: Path) -> None:
    text = spec(
        'label Grade: string -> vocab("low", "mid", "high")',
        "predict Grade = softmax(y)\nobjective cce(y, bob.Grade)",
        "accuracy, recall",
        3,
    )
    run = trained(text, tables, tmp_path)
    found = predicted(run, tables)
    assert found.column_names == ["ID", "Grade", "Grade.low", "Grade.mid", "Grade.high"]
    shares = np.stack([found[f"Grade.{name}"].to_numpy() for name in ("low", "mid", "high")], 1)
    assert shares.sum(1) == pytest.approx(np.ones(ROWS), abs=1e-5)
    guess = np.array(["low", "mid", "high"])[shares.argmax(1)]
    assert found["Grade"].to_pylist() == guess.tolist()
    truth = np.array(tables["bob"]["Grade"].to_pylist())
    scores = evaluate(run, tables)["evaluation"]
    assert scores["accuracy"] == pytest.approx((guess == truth).mean())
    for name in ("low", "mid", "high"):
        assert scores[f"recall.{name}"] == pytest.approx((guess[truth == name] == name).mean())


def test_two_classes_with_names(tables: dict[str, Any], tmp_path: Path) -> None:
    text = spec(
        "label Level: int -> vocab(1, 2)", "predict Level = sigmoid(y)\nobjective bce(y, bob.Level)", "auc"
    )
    found = predicted(trained(text, tables, tmp_path), tables)
    assert found.column_names == ["ID", "Level", "Level.2"]
    assert found["Level"].to_pylist() == [1 + (share > 0.5) for share in found["Level.2"].to_pylist()]


def test_rows_count_by_their_weights(tables: dict[str, Any], tmp_path: Path) -> None:
    """In the loss as `weight` always did, in metrics as in a table where each row stands so often."""
    text = spec(
        "label Price: float\n  weight W: float",
        "predict Price = y\nobjective mse(y, bob.Price, weight = bob.W)",
        "rmse",
    )
    run = trained(text, tables, tmp_path)
    found = predicted(run, {**tables, "bob": tables["bob"].select(["ID"])})["Price"].to_numpy()
    price, weight = (tables["bob"][name].to_numpy() for name in ("Price", "W"))
    squares = np.square(found - price)
    scores = evaluate(run, tables)["evaluation"]
    assert scores["loss"] == pytest.approx((weight * squares).mean(), rel=1e-4)
    assert scores["rmse"] == pytest.approx(np.sqrt((weight * squares).sum() / weight.sum()), rel=1e-4)


@pytest.mark.parametrize(
    ("weight", "code", "says"),
    [
        ("weight W = Price - 2", "VFL0617", "the weight bob.W is -"),
        ("weight W = 0 * Price", "VFL0617", "the weight bob.W is 0 in all 120 rows"),
        ("weight W = log(Price)", "VFL0610", "bob.W has no value"),
    ],
)
def test_weights_that_are_none(
    weight: str, code: str, says: str, tables: dict[str, Any], tmp_path: Path
) -> None:
    text = spec(
        f"column Price: float\n  label P = Price\n  {weight}",
        "predict P = y\nobjective mse(y, bob.P, weight = bob.W)",
    )
    with pytest.raises(Failure) as failed:
        trained(text, tables, tmp_path)
    assert failed.value.code == code and says in failed.value.message
    assert not (tmp_path / "run").exists()


def test_evaluation_takes_no_labels_that_training_refuses(tables: dict[str, Any], tmp_path: Path) -> None:
    text = spec(
        "label Level: float\n  weight W: float",
        "predict Level = sigmoid(y)\nobjective bce(y, bob.Level, weight = bob.W)",
        "auc",
    )
    bob = tables["bob"]
    levels = {"Level": bob["Level"].to_numpy() - 1.0, "W": np.ones(ROWS)}

    def given(**changed: Any) -> dict[str, Any]:
        columns = {"ID": bob["ID"], **{name: pa.array(changed.get(name, v)) for name, v in levels.items()}}
        return {**tables, "bob": pa.table(columns)}

    run = trained(text, given(), tmp_path)
    assert evaluate(run, given(Level=np.ones(ROWS)))["evaluation"]["auc"] is None, "nothing is learned here"
    for changed, says in (
        ({"Level": levels["Level"] + 1}, "label bob.Level has values from 1 to 2"),
        ({"W": -levels["W"]}, "the weight bob.W is -1 in the row with key 'k000'"),
        ({"W": 0 * levels["W"]}, "is 0 in all 120 rows"),
    ):
        with pytest.raises(Failure) as failed:
            evaluate(run, given(**changed))
        assert failed.value.code == "VFL0617" and says in failed.value.message


def test_split_and_unsplit_agree_on_units(tables: dict[str, Any], tmp_path: Path) -> None:
    """Before anything is fitted the weights leave a number as it is, wherever the model runs."""
    text = spec(
        "label Price: float -> log1p -> standardize", "predict Price = y\nobjective mse(y, bob.Price)"
    )
    inputs = {"alice.Age": np.linspace(-1, 1, 5)[:, None], "bob.Price": np.zeros((5, 1))}
    found = []
    for unsplit in (False, True):
        folder = tmp_path / str(unsplit)
        compile_source(SourceText("m.vfl", text), precision="float64", unsplit=unsplit).write(folder)
        found.append(Session(folder).evaluate(inputs).predictions["Price"].copy())
    assert found[0] == pytest.approx(found[1], abs=1e-12)


def test_the_manifest_and_the_plan_say_what_weighs(tables: dict[str, Any], tmp_path: Path) -> None:
    text = spec(
        "label Price: float\n  weight W: float",
        "predict Price = y\nobjective mse(y, bob.Price, weight = bob.W)",
    )
    bundle = compile_source(SourceText("m.vfl", text))
    assert [party["weights"] for party in bundle.manifest["parties"]] == [[], ["W"]]
    assert "Price, W (weight)" in bundle.files["manifest.md"].decode()
    (gradient,) = (edge for edge in bundle.manifest["edges"] if edge["phase"] == "backward")
    assert gradient["depends_on"] == ["alice.Age", "bob.Price", "bob.W"]


@pytest.mark.parametrize("factor", ["", "bob.W * "])
def test_a_loss_written_out_is_the_loss(factor: str, tables: dict[str, Any], tmp_path: Path) -> None:
    """The mean over the batch of what each row's loss is; its prediction is measured where `of` says."""
    columns = "label liked = Level > 1\n  column Level: int\n  weight W: float"
    weight = ", weight = bob.W" if factor else ""
    known = spec(columns, f"predict p = sigmoid(y)\nobjective bce(y, bob.liked{weight})", "auc, log_loss")
    by_hand = spec(
        columns,
        f"predict p = sigmoid(y) of bob.liked\nobjective mean({factor}(softplus(y) - bob.liked * y))",
        "auc, log_loss",
    )
    runs = [trained(text, tables, tmp_path / name) for name, text in (("known", known), ("by_hand", by_hand))]
    one, other = (np.asarray(predicted(run, tables)["p"]) for run in runs)
    np.testing.assert_allclose(one, other, rtol=1e-4)
    scores = [evaluate(run, tables)["evaluation"] for run in runs]
    assert scores[0].keys() == scores[1].keys()
    assert scores[0]["loss"] == pytest.approx(scores[1]["loss"], rel=1e-4)
    if not factor:
        assert scores[0] == pytest.approx(scores[1], rel=1e-4)
