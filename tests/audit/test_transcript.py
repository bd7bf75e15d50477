"""A run keeps exactly what each place received and sent, no more than it was told to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from runtime.handmade import batch, tables, write_bundle
from safetensors.numpy import save_file
from vflc_runtime.bundle.manifest import read_manifest
from vflc_runtime.data.batches import Order
from vflc_runtime.errors import Failure
from vflc_runtime.run.session import Session
from vflc_runtime.run.train import TrainOptions, train
from vflc_runtime.run.transcript import FOLDER, Recorder, RecordingLength, Transcript, recorded
from vflc_runtime.transport.messages import Envelope


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", batch=32)


def recording(bundle: Path, out: Path, stretch: RecordingLength, **options: object) -> Path:
    train(bundle, tables(203), out, TrainOptions(record=stretch, **options))  # type: ignore[arg-type]
    return out


def test_each_place_keeps_what_it_received_and_sent(bundle: Path, tmp_path: Path) -> None:
    run = recording(
        bundle, tmp_path / "run", RecordingLength(2, epochs=True), epochs=3, validation=0.1, seed=5
    )
    alice, bob = (list(Transcript(run, place).steps()) for place in ("alice", "bob"))
    assert [step.number for step in alice] == list(range(1, 13)), "two epochs of 180 rows by 32"
    for at_alice, at_bob in zip(alice, bob, strict=True):
        assert np.array_equal(at_alice.rows, at_bob.rows)
        assert list(at_alice.sent) == list(at_bob.received) == ["a.v"]
        assert list(at_alice.received) == list(at_bob.sent) == ["gradient.a.v"]
        assert np.array_equal(at_alice.sent["a.v"], at_bob.received["a.v"])
        assert len(at_alice.received["gradient.a.v"]) == len(at_alice.rows)
    order = Order(200, 5, 0.1, 32)
    assert np.array_equal(np.concatenate([s.rows for s in alice[6:]]), order.epoch(1))


def test_recording_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    recording(bundle, tmp_path / "a", RecordingLength(3), epochs=2)
    train(bundle, tables(203), tmp_path / "b", TrainOptions(epochs=2))
    for place in ("alice", "bob"):
        a, b = (tmp_path / run / place / "model.safetensors" for run in "ab")
        assert a.read_bytes() == b.read_bytes()
    assert recorded(tmp_path / "a") and not recorded(tmp_path / "b")
    assert len(Transcript(tmp_path / "a", "bob")) == 3


def test_a_resumed_run_goes_on_recording(bundle: Path, tmp_path: Path) -> None:
    whole = recording(bundle, tmp_path / "whole", RecordingLength(20), epochs=2)
    halved = recording(bundle, tmp_path / "halved", RecordingLength(20), epochs=2, steps=5)
    recording(bundle, halved, RecordingLength(20), epochs=2, resume=True)
    for one, other in zip(
        Transcript(whole, "alice").steps(), Transcript(halved, "alice").steps(), strict=True
    ):
        assert np.array_equal(one.rows, other.rows)
        assert np.array_equal(one.received["gradient.a.v"], other.received["gradient.a.v"])


def test_what_is_kept_is_bounded(bundle: Path, tmp_path: Path) -> None:
    order = Order(64, 0, 0.0, 32)
    each = 2 * (32 * 8) + 4 * (32 * 2 * 4)  # rows at two places, two edges at two places
    with Recorder(tmp_path, read_manifest(bundle / "manifest.json"), order, 100, limit=3 * each) as recorder:
        for step in range(1, 6):
            for message, sender, edge in (
                ("alice>bob.forward", "alice", "a.v"),
                ("bob>alice.backward", "bob", "gradient.a.v"),
            ):
                tensor = np.full((32, 2), step, np.float32)
                recorder(Envelope(message, sender, "forward", "train", step, {edge: tensor}))
    assert (recorder.recorded, recorder.bytes, recorder.full) == (3, 3 * each, True)
    steps = list(Transcript(tmp_path, "bob").steps())
    assert [float(step.received["a.v"][0, 0]) for step in steps] == [1, 2, 3]
    assert [s.number for s in Transcript(tmp_path, "bob").steps(most=2)] == [1, 3]


def test_validation_is_recorded_as_long_as_steps_are(bundle: Path, tmp_path: Path) -> None:
    """Two epochs of three, of 160 rows by 32, and 40 rows that are validated after each."""
    run = recording(
        bundle, tmp_path / "run", RecordingLength(2, epochs=True), epochs=3, validation=0.2, seed=5
    )
    bob = Transcript(run, "bob")
    assert len(bob) == 10 and len(list(bob.steps())) == 10, "validation is no step"
    validated = list(bob.evaluations())
    assert [step.number for step in validated] == [5, 10]
    held_out = Order(200, 5, 0.2, 32).held_out
    for step in validated:
        assert np.array_equal(step.rows, held_out)
        assert step.received["a.v"].shape == (40, 2) and not step.sent
    assert not np.array_equal(*(step.received["a.v"] for step in validated)), "weights went on"


def test_validation_in_several_batches(tmp_path: Path, bundle: Path) -> None:
    order = Order(12000, 0, 0.5, 6000)
    with Recorder(tmp_path, read_manifest(bundle / "manifest.json"), order, 1) as recorder:
        for step in (1, 2):
            for program, sizes in (("train", [6000]), ("evaluate", [4096, 1904])):
                for size in sizes:
                    tensor = np.full((size, 2), size, np.float32)
                    number = step if program == "train" else 0
                    recorder(
                        Envelope("alice>bob.forward", "alice", "forward", program, number, {"a.v": tensor})
                    )
    assert recorder.recorded == 1
    found = list(Transcript(tmp_path, "bob").evaluations())
    assert [len(step.rows) for step in found] == [4096, 1904]
    assert np.array_equal(np.concatenate([step.rows for step in found]), order.held_out)


def test_a_step_that_failed_is_not_kept(bundle: Path, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, read_manifest(bundle / "manifest.json"), Order(64, 0, 0.0, 32), 9)
    with pytest.raises(KeyError), recorder:
        recorder(Envelope("alice>bob.forward", "alice", "forward", "train", 1, {"a.v": np.ones((32, 2))}))
        raise KeyError
    assert not recorded(tmp_path)


@pytest.mark.parametrize(
    ("tensors", "wrong"),
    [
        ({"a": np.ones(3)}, "no numbers of rows"),
        ({"rows": np.ones(3)}, "no numbers of rows"),
        ({"rows": np.arange(3), "stolen/x": np.ones(3)}, "'stolen/x'"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_transcript_is_refused(tmp_path: Path, tensors: object, wrong: str) -> None:
    folder = tmp_path / "alice" / FOLDER
    folder.mkdir(parents=True)
    path = folder / "step-0000000001.safetensors"
    path.write_bytes(b"\x80\x04K\x01.") if tensors is None else save_file(tensors, path)  # type: ignore[arg-type]
    (folder / "notes.txt").write_text("not ours")
    with pytest.raises(Failure, match=wrong) as failure:
        list(Transcript(tmp_path, "alice").steps())
    assert failure.value.code == "VFL0621"


def test_an_engine_may_reuse_its_arrays(bundle: Path, tmp_path: Path) -> None:
    """What is kept is a copy in one piece: a session's tensors hold only until the next update."""
    order = Order(64, 0, 0.0, 32, shuffle=False)
    heard: list[np.ndarray] = []
    with Recorder(tmp_path, read_manifest(bundle / "manifest.json"), order, 9) as recorder:

        def listen(envelope: Envelope) -> None:
            heard.extend(np.array(tensor) for tensor in envelope.tensors.values())
            turned = {edge: np.asfortranarray(tensor) for edge, tensor in envelope.tensors.items()}
            recorder(replace(envelope, tensors=turned))

        session = Session(bundle, listen=listen, programs=("train",))
        rng = np.random.default_rng(0)
        for _ in range(2):
            session.step(batch(rng, 32))
    kept = [
        t for s in Transcript(tmp_path, "alice").steps() for t in (s.sent["a.v"], s.received["gradient.a.v"])
    ]
    assert all(np.array_equal(a, b) for a, b in zip(heard, kept, strict=True))
