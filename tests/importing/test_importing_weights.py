"""Trained weights: written beside the spec, started from, kept with a run; refused where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from keras_backend.keras_testing import needs_tensorflow
from numpy.typing import NDArray
from vflc_runtime import files
from vflc_runtime.run.loop import EpochLoop

from vflc.cli.main import run as vflc
from vflc.driver import compile_spec

ROWS = 40
SPEC = """
party alice {
  key ID
  feature x{1..2}: float
}

party bob {
  key ID
  feature item: int -> index(5)
  label   y:    int
}

e     = embed(bob.item, dim = 3)
deep  = mlp(concat(concat(alice.x{1..2}), e), [4, 3])
logit = dense(deep, 1)
predict y = sigmoid(logit)
objective bce(logit, bob.y)
train {
  optimizer sgd(lr = 0.1)
  batch     10
}
release alice { to bob: x{1..2} }
release bob { to alice: item, y }
"""
SHAPES = {
    "e.item": (5, 3), "deep.mlp.0.kernel": (5, 4), "deep.mlp.0.bias": (4,), "deep.mlp.1.kernel": (4, 3),
    "deep.mlp.1.bias": (3,), "logit.dense.kernel": (3, 1), "logit.dense.bias": (1,),
}  # fmt: skip


def tables(folder: Path) -> list[str]:
    rng = np.random.default_rng(2)
    ids = np.arange(ROWS) + 1000
    columns: dict[str, dict[str, Any]] = {
        "alice": {"x1": rng.normal(size=ROWS), "x2": rng.normal(size=ROWS)},
        "bob": {"item": rng.integers(0, 5, ROWS), "y": rng.integers(0, 2, ROWS)},
    }
    for party, own in columns.items():
        pq.write_table(pa.table({"ID": ids, **own}), folder / f"{party}.parquet")
    return [part for party in columns for part in ("--data", f"{party}={folder / party}.parquet")]


def weights() -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(4)
    return {name: rng.normal(size=shape).astype("float32") for name, shape in SHAPES.items()}


def trained(folder: Path, run: str) -> dict[str, NDArray[Any]]:
    from vflc_runtime.bundle.slices import joined
    from vflc_runtime.run.state import RunFolder

    opened = RunFolder(folder / run).bundle("onnx")
    found: dict[str, NDArray[Any]] = {}
    for place in opened.plans:
        found |= files.read_tensors(folder / run / place / "model.safetensors")[0]
    return joined(opened.plans.values(), found)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "spec.vfl").write_text(SPEC)
    files.write_tensors(tmp_path / "start.safetensors", weights(), {})
    return tmp_path


def train(folder: Path, run: str, *options: str) -> int:
    given = tables(folder)
    return vflc(
        ["train", str(folder / "spec.vfl"), *given, "--out", str(folder / run), "--threads", "1", *options]
    )


def test_a_run_starts_from_the_weights(project: Path) -> None:
    """One step of plain SGD from them, split, is the unsplit model's; kernels that are cut get their rows."""
    from vflc_runtime.data.dataset import Dataset
    from vflc_runtime.run import loading
    from vflc_runtime.run.session import Session

    assert train(project, "run", "--from", str(project / "start.safetensors"), "--batch", str(ROWS)) == 0
    compile_spec(project / "spec.vfl", unsplit=True).write(project / "unsplit")
    whole = Session(project / "unsplit", seed=0, threads=1)
    (engine,) = whole.engines.values()
    engine.load({name: value.reshape(engine.plan.weights[name].shape) for name, value in weights().items()})
    sources = {party: str(project / f"{party}.parquet") for party in ("alice", "bob")}
    data = Dataset.load(loading.encoders(whole.bundle), sources, precision="float32")
    whole.step(data.inputs, ROWS)
    wanted, found = whole.weights(), trained(project, "run")
    assert set(found) == set(SHAPES)
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], rtol=0, atol=1e-6, err_msg=name)
        assert not np.array_equal(value, weights()[name]), "it was trained, too"


def test_an_interrupted_run_keeps_its_start(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before its first step and resumed, and without the file: the same bits."""
    start = str(project / "start.safetensors")
    assert train(project, "whole", "--from", start) == 0

    def killed(loop: EpochLoop) -> None:
        raise SystemExit(9)

    with monkeypatch.context() as patched:
        patched.setattr(EpochLoop, "run", killed)
        assert train(project, "cut", "--from", start) == 9
    Path(start).unlink()
    assert train(project, "cut", "--resume") == 0
    whole, cut = trained(project, "whole"), trained(project, "cut")
    assert all(np.array_equal(whole[name], cut[name]) for name in SHAPES)


def changed(change: str) -> dict[str, NDArray[Any]]:
    found = weights()
    match change:
        case "missing":
            del found["e.item"]
        case "more":
            found["f.item"] = found["e.item"]
        case "shape":
            found["deep.mlp.0.kernel"] = found["deep.mlp.0.kernel"].T.copy()
        case "nan":
            found["logit.dense.bias"][0] = np.nan
        case "whole":
            found["logit.dense.bias"] = np.array([1], "int64")
    return found


WRONG = {
    "missing": "has no `e.item`",
    "more": "`f.item`, which the spec does not have",
    "shape": "`deep.mlp.0.kernel` of shape [4, 5], not [5, 4]",
    "nan": "not finite in `logit.dense.bias`",
    "whole": "not finite in `logit.dense.bias`",
}


@pytest.mark.parametrize("change", WRONG)
def test_weights_that_do_not_fit_are_refused(change: str, project: Path, capsys: Any) -> None:
    files.write_tensors(project / "other.safetensors", changed(change), {})
    assert train(project, "run", "--from", str(project / "other.safetensors")) == 1
    said = capsys.readouterr().err
    assert "error[VFL0706]" in said and WRONG[change] in " ".join(said.split())
    assert not (project / "run").exists()


@pytest.mark.parametrize("content", [None, b"", b"not weights", bytes(8) + b"{}"])
def test_a_file_that_holds_no_weights(content: bytes | None, project: Path, capsys: Any) -> None:
    path = project / "other.safetensors"
    if content is not None:
        path.write_bytes(content)
    assert train(project, "run", "--from", str(path)) == 1
    assert "error[VFL0706]" in capsys.readouterr().err and not (project / "run").exists()


def test_a_secret_start_is_not_a_file(project: Path, capsys: Any) -> None:
    (project / "spec.vfl").write_text(SPEC.replace("batch     10", "batch     10\n  secret_start true"))
    assert train(project, "run", "--from", str(project / "start.safetensors")) == 1
    assert "error[VFL0706]" in capsys.readouterr().err


def test_a_run_that_goes_on_does_not_start(project: Path, capsys: Any) -> None:
    assert train(project, "run") == 0
    assert train(project, "run", "--resume", "--from", str(project / "start.safetensors")) == 1
    assert "error[VFL0627]" in capsys.readouterr().err


@needs_tensorflow
def test_a_model_comes_with_its_weights(tmp_path: Path) -> None:
    """From Keras to a run: what is trained for no step predicts what Keras does; a used file is refused."""
    import keras
    from keras import layers as k

    x, item = keras.Input((2,), name="x"), keras.Input((), dtype="int32", name="item")
    h = k.Dense(4, "relu")(k.Concatenate()([x, k.Embedding(5, 3)(item)]))
    made = keras.Model([x, item], k.Dense(1, "sigmoid")(k.BatchNormalization()(h)))
    made.compile(keras.optimizers.SGD(0.0), "binary_crossentropy")
    for weight in made.weights:
        weight.assign(np.random.default_rng(7).uniform(0.1, 1.0, weight.shape))
    made.save(tmp_path / "model.keras")
    arguments = [
        "import", str(tmp_path / "model.keras"), "-o", str(tmp_path / "spec.vfl"), "--owner", "alice=x",
        "--owner", "bob=item", "--label", "bob=y", "--weights",
    ]  # fmt: skip
    assert vflc(arguments) == 0
    assert vflc(arguments) == 1, "neither file is overwritten"
    assert train(tmp_path, "run", "--from", str(tmp_path / "spec.safetensors"), "--batch", "40") == 0
    found = files.read_tensors(tmp_path / "spec.safetensors")[0]
    after = trained(tmp_path, "run")
    assert set(found) == set(after)
    still = [name for name in found if ".moving_" not in name]
    assert all(np.allclose(found[name], after[name], atol=1e-6) for name in still)
