"""Whatever a peer sends that the manifest does not declare is refused, by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import handmade
import numpy as np
import pytest
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.errors import Failure
from vflc_runtime.run.session import Session
from vflc_runtime.transport.local import LocalNetwork
from vflc_runtime.transport.messages import Envelope, Gate

TENSOR = np.zeros((4, 2), np.float32)
GOOD = Envelope("alice>bob.forward", "alice", "forward", "train", 7, {"a.v": TENSOR})


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    bundle = open_bundle(handmade.write_bundle(tmp_path_factory.mktemp("b") / "b"))
    return Gate(bundle.manifest, "bob", "train")


def test_what_is_declared_passes(gate: Gate) -> None:
    gate.check("alice>bob.forward", GOOD, 7, 4)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"message": "bob>alice.backward"}, "'bob>alice.backward'"),
        ({"message": "x"}, "'x'"),
        ({"sender": "mallory"}, "sender 'mallory'"),
        ({"phase": "backward"}, "phase 'backward'"),
        ({"program": "predict"}, "program 'predict'"),
        ({"step": 6}, "step 6 instead of 7"),
        ({"step": 8}, "step 8 instead of 7"),
        ({"tensors": {}}, "missing ['a.v']"),
        ({"tensors": {"a.v": TENSOR, "a.secret": TENSOR}}, "added ['a.secret']"),
        ({"tensors": {"a.secret": TENSOR}}, "without edge 'a.v'"),
        ({"tensors": {"a.v": TENSOR.astype("float64")}}, "type float64 instead of float32"),
        ({"tensors": {"a.v": TENSOR.astype(">f4")}}, "type >f4"),
        ({"tensors": {"a.v": TENSOR.astype(object)}}, "type object"),
        ({"tensors": {"a.v": TENSOR[:3]}}, "shape [3, 2] instead of [4, 2]"),
        ({"tensors": {"a.v": np.zeros((5, 2), "f")}}, "shape [5, 2]"),
        ({"tensors": {"a.v": np.zeros((4, 3), "f")}}, "shape [4, 3]"),
        ({"tensors": {"a.v": np.zeros((4, 2, 1), "f")}}, "shape [4, 2, 1]"),
        ({"tensors": {"a.v": np.zeros(4, "f")}}, "shape [4]"),
    ],
)
def test_every_deviation_is_refused(gate: Gate, change: dict[str, Any], named: str) -> None:
    with pytest.raises(Failure) as caught:
        gate.check("alice>bob.forward", replace(GOOD, **change), 7, 4)
    assert (caught.value.code, caught.value.exit_code) == ("VFL0615", 3)
    assert named in caught.value.message


def test_a_message_that_is_not_for_this_place(gate: Gate) -> None:
    with pytest.raises(Failure, match="VFL0615"):
        gate.check("bob>alice.backward", replace(GOOD, message="bob>alice.backward"), 7, 4)


@pytest.mark.parametrize("program", ["train", "evaluate", "predict"])
def test_a_party_that_deviates_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    session = Session(handmade.write_bundle(tmp_path))
    original = LocalNetwork.put

    def tampered(self: LocalNetwork, receiver: str, envelope: Envelope) -> None:
        tensors = {name: tensor.astype("float64") for name, tensor in envelope.tensors.items()}
        original(self, receiver, replace(envelope, tensors=tensors))

    inputs = handmade.batch(np.random.default_rng(0), 4)
    run = {"train": session.step, "evaluate": session.evaluate, "predict": session.predict}[program]
    before = session.weights()
    with monkeypatch.context() as patch:
        patch.setattr(LocalNetwork, "put", tampered)
        with pytest.raises(Failure, match="VFL0615"):
            run(inputs)
    for name, weight in session.weights().items():
        np.testing.assert_array_equal(weight, before[name])
    run(inputs)


def test_a_message_too_many_and_a_message_too_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(handmade.write_bundle(tmp_path))
    inputs = handmade.batch(np.random.default_rng(0), 4)
    original = LocalNetwork.put

    def twice(self: LocalNetwork, receiver: str, envelope: Envelope) -> None:
        original(self, receiver, envelope)
        original(self, receiver, envelope)

    with monkeypatch.context() as patch:
        patch.setattr(LocalNetwork, "put", twice)
        with pytest.raises(Failure, match="which is not due"):
            session.step(inputs)
        patch.setattr(LocalNetwork, "put", lambda *_: None)
        with pytest.raises(Failure, match="'alice', 'bob' wait for messages that nobody sends"):
            session.step(inputs)
