"""Compression: what leaves is on the wire as small as it says, and what was left out is not lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from protecting import TWO, Recorded, batch, bundle
from vflc_runtime.bundle.packing import Packing
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import Facts
from vflc_runtime.protect.guards import Guards
from vflc_runtime.protect.wire import pack, unpack

QUANTIZED = TWO + "protect h with quantize(bits = 4)\n"
LARGEST = TWO + "protect gradients to alice with top_k(k = 2)\n"


def edge(folder: Path, name: str) -> dict:
    return next(e for e in json.loads((folder / "manifest.json").read_text())["edges"] if e["id"] == name)


@pytest.mark.parametrize(("bits", "count"), [(2, 40), (3, 39), (8, 1), (11, 7), (16, 40)])
def test_grids_survive_the_wire_to_the_bit(bits, count):
    packing = Packing("quantize", (5, 3), {"bits": bits})
    rows = np.random.default_rng(0).normal(size=(count, 15)).astype(np.float32)
    rows[3:4] = 0
    top = np.abs(rows).max(1, keepdims=True)
    levels = np.float32(2 ** (bits - 1) - 1)
    value = top * (np.floor(rows / np.where(top > 0, top, 1) * levels + np.float32(0.5)) / levels)
    sent = pack(packing, value.reshape(count, 5, 3))
    assert sent.dtype == np.uint8 and sent.shape == (count, 4 + -(-15 * bits // 8))
    assert np.array_equal(unpack("e", packing, sent, "float32"), value.reshape(count, 5, 3))


def test_the_largest_survive_the_wire_to_the_bit():
    packing = Packing("top_k", (9,), {"k": 4})
    rows = np.random.default_rng(0).normal(size=(40, 9)) * (np.random.default_rng(1).random((40, 9)) < 0.4)
    rows[:, 4:] *= (np.cumsum(rows != 0, axis=1) <= 4)[:, 4:]
    sent = pack(packing, rows)
    assert sent.shape == (40, 4 * (2 + 8))
    assert np.array_equal(unpack("e", packing, sent, "float64"), rows)


def test_what_nobody_can_have_packed_is_refused():
    packing = Packing("top_k", (9,), {"k": 1})
    with pytest.raises(Failure, match="VFL0677"):
        unpack("e", packing, np.full((1, 6), 9, np.uint8), "float32")
    with pytest.raises(Failure, match="VFL0677"):
        unpack(
            "e", Packing("quantize", (1,), {"bits": 8}), np.array([[0, 0, 0, 0, 255]], np.uint8), "float32"
        )


@pytest.mark.parametrize(
    ("text", "name", "size", "engine"),
    [
        (QUANTIZED, "h.protected", 7, "onnx"),
        (LARGEST, "h.gradient.protected", 12, "onnx"),
        (LARGEST, "h.gradient.protected", 12, "keras"),
    ],
)
def test_bytes_sent_are_those_of_the_manifest(text, name, size, engine, tmp_path):
    folder = bundle(text, tmp_path / "b", backends=("onnx", "keras") if engine == "keras" else ("onnx",))
    at = Recorded(folder, engine)
    at.step(batch(32))
    assert edge(folder, name)["bytes_per_row"] == size
    assert at.session.sent()[name] == 32 * size and at.sent["train", name].dtype == np.uint8
    (entry,) = at.session.protections()
    assert entry["privacy"] == "none"


@pytest.mark.parametrize("bits", [2, 4, 7])
def test_a_number_is_off_by_half_a_step_of_its_rows_grid_at_most(bits, tmp_path):
    """Of 2^bits - 1 points from minus to plus the largest of the row."""
    plain = Recorded(bundle(TWO, tmp_path / "plain", precision="float64"))
    at = Recorded(bundle(TWO + f"protect h with quantize({bits})\n", tmp_path / "b", precision="float64"))
    for each in (plain, at):
        each.step(batch(64))
    true, packing = plain.sent["train", "h"], at.session.bundle.manifest.edges["h.protected"].packing
    sent = unpack("h", packing, at.sent["train", "h.protected"], "float64")
    half = np.abs(true).max(1, keepdims=True) / (2**bits - 2)
    assert (np.abs(sent - true) <= half * (1 + 1e-6)).all()
    np.testing.assert_allclose(sent / half / 2, np.rint(sent / half / 2), atol=1e-3)


@pytest.mark.parametrize(("text", "name"), [(QUANTIZED, "h"), (LARGEST, "h.gradient")])
def test_what_was_left_out_comes_with_the_rows_next_message(text, name, tmp_path):
    """From the same weights a row's messages add up to what they would be, however small each is."""
    plain = Recorded(bundle(TWO, tmp_path / "plain"))
    at = Recorded(bundle(text, tmp_path / "b"))
    packing = at.session.bundle.manifest.edges[f"{name}.protected"].packing
    inputs, start, total = batch(32), at.session.weights_by_place(), 0.0
    plain.step(inputs)
    true, rounds = plain.sent["train", name].astype(float), 40
    for turn in range(rounds):
        for place, weights in start.items():
            at.session.engines[place].load(weights)
        order = np.random.default_rng(turn).permutation(32)  # memories belong to rows, not to positions
        at.step({key: value[order] for key, value in inputs.items()}, order)
        sent = unpack(name, packing, at.sent["train", f"{name}.protected"], "float32").astype(float)
        total = total + sent[np.argsort(order)]
    first = np.abs(sent[np.argsort(order)] - true).max()
    assert first > 10 * np.abs(total / rounds - true).max() / np.sqrt(rounds)
    assert np.abs(total / rounds - true).max() < 0.2 * np.abs(true).max()


def test_gradients_flow_as_if_nothing_were_left_out(tmp_path):
    plain = Recorded(bundle(TWO, tmp_path / "plain", precision="float64"))
    fine = Recorded(bundle(TWO + "protect h with quantize(bits = 16)\n", tmp_path / "b", precision="float64"))
    inputs = batch(32)
    for at in (plain, fine):
        at.step(inputs)
    for name, weight in plain.session.weights().items():
        np.testing.assert_allclose(fine.session.weights()[name], weight, atol=1e-5)


def test_no_packing_where_it_would_not_be_smaller(tmp_path):
    folder = bundle(TWO + "protect h with top_k(k = 6)\n", tmp_path / "b")
    assert edge(folder, "h.protected")["dtype"] == "float32"
    Recorded(folder).step(batch(32))


def test_what_rows_are_owed_needs_to_know_the_rows(tmp_path):
    at = Recorded(bundle(QUANTIZED, tmp_path / "b"))
    guards, engine = Guards(at.session.bundle.plans["alice"]), at.session.engines["alice"]
    for indices in (np.arange(4), None):
        with pytest.raises(ValueError, match="prepare it, and say which rows"):
            guards.apply("protect_1", engine, 4, indices)
        guards.prepare(Facts(4, 4, 4, 1))
    guards.apply("protect_1", engine, 4, np.arange(4))
