"""`quantize(…, per = batch)`: one grid for a batch, whose ends cross once, on the wire to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protecting import TWO, Recorded, batch, bundle, rows
from vflc_runtime.bundle.packing import Packing
from vflc_runtime.errors import Failure
from vflc_runtime.protect.wire import pack, span, unpack
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions, train

from vflc import driver
from vflc.diagnostics import SourceText

FORWARD = TWO + "protect h with quantize(6, per = batch)\n"
BACKWARD = TWO + "protect gradients to alice with quantize(bits = 5, per = batch)\n"


def mindspore(x: np.ndarray, bits: int) -> np.ndarray:
    """What MindSpore Federated's min-max compression and decompression make of numbers."""
    low, high = x.min(), x.max()
    scale = (high - low) / (2**bits - 1)
    codes = np.round((x - low) / scale) - 2 ** (bits - 1)
    return (codes + 2 ** (bits - 1)) * scale + low


@settings(max_examples=80, deadline=None)
@given(
    st.integers(2, 16),
    st.sampled_from(["float32", "float64"]),
    st.floats(-1e6, 1e6),
    st.sampled_from([0.0, 1e-30, 1e-7, 1e-3, 1.0, 1e6]),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_grids_survive_the_wire_to_the_bit(
    bits: int, precision: str, level: float, width: float, count: int, seed: int
) -> None:
    """Also where all numbers are one, and where floats are coarser than the grid."""
    packing = Packing("quantize", (3,), {"bits": bits}, by="e.range")
    random = np.random.default_rng(seed)
    ends = np.array([level, level + width], precision)
    share = (random.integers(0, 2**bits, (count, 3)) / (2**bits - 1)).astype(precision)
    share.reshape(-1)[: min(2, share.size)] = [0, 1]
    value = ends[0] * (1 - share) + ends[1] * share
    sent = pack(packing, value)
    assert sent.dtype == np.uint8 and sent.shape == (count, -(-3 * bits // 8))
    assert np.array_equal(unpack("e", packing, sent, precision, span(value)), value)


@pytest.mark.parametrize("between", [None, np.array([1, 0], "f4"), np.array([np.nan, 1], "f4")])
def test_a_range_that_nobody_can_have_packed_is_refused(between: Any) -> None:
    packing = Packing("quantize", (2,), {"bits": 8}, by="e.range")
    with pytest.raises(Failure, match="VFL0677"):
        unpack("e", packing, np.zeros((3, 2), np.uint8), "float32", between)


def edges(folder: Path) -> dict[str, Any]:
    return {edge["id"]: edge for edge in json.loads((folder / "manifest.json").read_text())["edges"]}


@pytest.mark.parametrize(
    ("text", "name", "size", "engine"),
    [
        (FORWARD, "h.protected", 5, "onnx"),
        (FORWARD, "h.protected", 5, "keras"),
        (BACKWARD, "h.gradient.protected", 4, "onnx"),
        (BACKWARD, "h.gradient.protected", 4, "keras"),
    ],
)
def test_what_crosses_is_what_the_manifest_says(
    text: str, name: str, size: int, engine: str, tmp_path: Path
) -> None:
    backends = ("onnx", "keras") if engine == "keras" else ("onnx",)
    folder = bundle(text, tmp_path / "b", backends=backends)
    plain = Recorded(bundle(TWO, tmp_path / "plain", backends=backends), engine)
    at, inputs = Recorded(folder, engine), batch(32)
    plain.step(inputs)
    at.step(inputs)
    found, bits = edges(folder), 6 if text == FORWARD else 5
    assert (found[name]["bytes_per_row"], found[name]["bytes_per_step"]) == (size, 0)
    beside = found[f"{name}.range"]
    assert (beside["shape"], beside["bytes_per_row"], beside["bytes_per_step"]) == ([2], 0, 8)
    assert beside["depends_on"] == found[name]["depends_on"]
    assert (
        "the smallest and the largest number of the batch cross" in found[name]["protections"][0]["promise"]
    )
    sent = at.session.sent()
    assert (sent[name], sent[f"{name}.range"]) == (32 * size, 8)
    ends = at.sent["train", f"{name}.range"]
    packing = at.session.bundle.manifest.edges[name].packing
    received = unpack(name, packing, at.sent["train", name], "float32", ends)
    true = plain.sent["train", name.removesuffix(".protected")]
    if text == FORWARD:  # the first message of a row: nothing was left out before
        assert ends.tolist() == [true.min(), true.max()]
        half = (true.max() - true.min()) / (2**bits - 1) / 2
        assert np.abs(received - true).max() <= half * (1 + 1e-4)
        apart = np.abs(received - mindspore(true.astype(np.float64), bits))
        assert np.mean(apart < 1e-5) > 0.95, "up to numbers half-way between two points"


@pytest.mark.parametrize("text", [FORWARD, BACKWARD])
def test_gradients_go_through_and_a_resumed_run_has_the_same_bits(text: str, tmp_path: Path) -> None:
    folder = bundle(text, tmp_path / "b")
    sources = {party: table for party, table in rows(100).items() if party != "carol"}

    def run(out: Path, **options: Any) -> None:
        train(folder, sources, out, TrainOptions(threads=1, **options))

    run(tmp_path / "whole", epochs=3)
    run(tmp_path / "parts", epochs=1)
    train(None, sources, tmp_path / "parts", TrainOptions(threads=1, resume=True, epochs=3))
    for place in ("alice", "bob"):
        models = [(tmp_path / run / place / "model.safetensors").read_bytes() for run in ("whole", "parts")]
        assert models[0] == models[1]
    metrics = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    beside = [name for name in metrics["bytes_sent"] if name.endswith(".range")]
    assert beside and all(metrics["bytes_sent"][name] > 0 for name in beside)
    predict(tmp_path / "whole", sources, tmp_path / "out.csv")


def test_a_fine_grid_gives_the_gradients_of_none(tmp_path: Path) -> None:
    plain = Recorded(bundle(TWO, tmp_path / "plain", precision="float64"))
    fine = Recorded(
        bundle(TWO + "protect h with quantize(16, per = batch)\n", tmp_path / "b", precision="float64")
    )
    for at in (plain, fine):
        at.step(batch(32))
    for name, weight in plain.session.weights().items():
        np.testing.assert_allclose(fine.session.weights()[name], weight, atol=1e-5)


@pytest.mark.parametrize(
    ("line", "code"),
    [("quantize(6)", "VFL0226"), ("quantize(6, per = row)", "VFL0226"), ("quantize(6, per = batch)", "")],
)
def test_a_single_number_a_row_is_a_warning(line: str, code: str) -> None:
    text = (
        "party alice { key ID  feature Age: float }\n"
        "party bob { key ID  column Rating: int  label liked = Rating > 3 }\n"
        "one = dense(mlp(alice.Age, [4]), 1)\n"
        "fuse at bob { logit = dense(mlp(one, [4]), 1) }\n"
        "predict liked = sigmoid(logit)\nobjective bce(logit, bob.liked)\n"
        f"protect one with {line}\n"
    )
    found = driver.check_source(SourceText("one.vfl", text))
    assert {d.code for d in found} & {"VFL0226"} == ({code} if code else set())
    if code:
        (finding,) = [d for d in found if d.code == code]
        assert finding.level == "warning" and finding.help == "scale per batch: quantize(6, per = batch)"
