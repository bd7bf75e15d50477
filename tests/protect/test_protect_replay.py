"""Noise of a run that goes on: what was sent is sent again to the bit, and what is not the same is charged.

An attacker is another party that is sent the values. It may let a run be killed and resumed, and send other
numbers then; two messages with one noise would differ by what they hide.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protecting import TWO, bundle
from test_protect_ledger import ONE, again, run, spent
from test_protect_phases import rows
from vflc_runtime import files
from vflc_runtime.bundle.plan_guards import Guard
from vflc_runtime.errors import Failure
from vflc_runtime.protect import replay
from vflc_runtime.protect.account import Facts
from vflc_runtime.protect.noise import Noise
from vflc_runtime.protect.replay import UNSYNCED, NoiseReplay, Sent
from vflc_runtime.protect.solvers.marvell import Marvell
from vflc_runtime.run.session import Session
from vflc_runtime.run.train import TrainOptions, train

PLAIN = TWO.replace("g = dense(concat(alice.Age, alice.Income), 2)\n", "").replace(", g, ", ", ")
BOTH = PLAIN + (
    "protect h with gaussian(clip = 1.0, noise = 3.0, epsilon = 20, passes = 0)\n"
    "protect weights at alice with dp_sgd(clip = 1.0, noise = 2.0, epsilon = 20)\n"
)
BOTH = BOTH.replace("to bob: Age, Income", "to bob: Age at most epsilon 40, Income")
FOR = 1000
"""More than any run here spends."""


class Killed(Exception):
    """The process is gone."""


class Heard:
    """Messages of all sessions that follow, by program, step and edge; and a session that is killed.

    `change` may replace what is sent by an edge.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: dict[tuple[str, int, str], list[np.ndarray]] = defaultdict(list)
        self.until, self.seen = FOR, 0
        self.change: Callable[[str, np.ndarray], np.ndarray] | None = None
        original = Session.__init__

        def init(session: Session, *args: Any, **changed: Any) -> None:
            names = ("bundle", "engine", "seed", "threads", "programs", "listen", "transport")
            original(session, **{**dict(zip(names, args, strict=False)), **changed, "listen": self._note})

        monkeypatch.setattr(Session, "__init__", init)

    def _note(self, envelope: Any) -> None:
        if envelope.program == "train" and envelope.step > self.until:
            raise Killed
        for edge, tensor in envelope.tensors.items():
            if self.change is not None and edge.endswith("gradient"):
                tensor[...] = self.change(edge, tensor)
            self.sent[envelope.program, envelope.step, edge].append(tensor.copy())


def weights(out: Path) -> dict[str, np.ndarray]:
    return {
        f"{place}.{name}": tensor
        for place in ("alice", "bob")
        for name, tensor in files.read_tensors(out / place / "model.safetensors")[0].items()
    }


def begun(folder: Path, out: Path, heard: Heard, until: int, **options: Any) -> None:
    """A run that is killed as its first step after `until` sends."""
    heard.until = until
    with pytest.raises(Killed):
        run(folder, out, **options)
    heard.until = FOR


def go_on(out: Path, **options: Any) -> dict[str, Any]:
    return train(None, rows(64), out, TrainOptions(resume=True, **{"threads": 1, **options})).metrics


@pytest.mark.parametrize(("engine", "until"), [("onnx", 1), ("onnx", 5), ("keras", 1)])
def test_what_goes_on_sends_the_same_and_spends_nothing(engine, until, tmp_path, monkeypatch):
    """Killed before the first checkpoint, or after one; and gone on with from a copy, with all known.

    A second time on Keras would take seconds, and nothing of it is of an engine.
    """
    heard = Heard(monkeypatch)
    backends = ("onnx", "keras") if engine == "keras" else ("onnx",)
    folder, out = bundle(BOTH, tmp_path / "b", backends=backends), tmp_path / "run"
    begun(folder, out, heard, until, engine=engine, validation=0.25, checkpoint_steps=2, batch=16)
    before = spent(out)
    copies = [out, tmp_path / "copy"] if engine == "onnx" else [out]
    shutil.copytree(out, tmp_path / "copy")
    for copy in copies:
        go_on(copy, engine=engine)
    assert spent(out) == before
    whole, *others = map(weights, copies)
    assert whole and all(np.array_equal(whole[name], each[name]) for each in others for name in whole)
    twice = [m for (program, *_), m in heard.sent.items() if program == "train" and len(m) > 1]
    assert twice and all(np.array_equal(messages[0], again) for messages in twice for again in messages)
    assert {len(messages) for messages in twice} >= {2, 1 + len(copies)}


def test_a_run_whose_epsilon_is_all_that_is_granted_goes_on(tmp_path, monkeypatch):
    heard = Heard(monkeypatch)
    text = ONE.replace("passes = 2", "passes = 0")
    folder, out = bundle(text, tmp_path / "b"), tmp_path / "run"
    begun(folder, out, heard, 3)
    assert spent(out) == pytest.approx(8, rel=1e-6)
    assert go_on(out)["protections"][0]["epsilon"] == pytest.approx(8, rel=1e-6)
    assert spent(out) == pytest.approx(8, rel=1e-6)


@pytest.mark.parametrize("bound", [True, False])
def test_who_sends_other_gradients_the_second_time_learns_nothing_of_the_noise(bound, tmp_path, monkeypatch):
    """Behind noise a thousand times the clip the messages of a step differ by noise, too.

    Were noise made of a message's place in the run alone (`bound` False), they would differ by what
    they hide alone: the attack works then.
    """
    heard = Heard(monkeypatch)
    if not bound:
        monkeypatch.setattr(NoiseReplay, "hear", lambda *rest: None)
    text = PLAIN + "protect h with gaussian(clip = 1.0, noise = 1000, passes = 0)\n"
    folder, out = bundle(text, tmp_path / "b"), tmp_path / "run"
    begun(folder, out, heard, 3, batch=16)  # there is no checkpoint yet
    heard.change = lambda edge, tensor: -tensor
    go_on(out)
    first, second = heard.sent["train", 3, "h.protected"]
    apart = float(np.abs(first - second).max())
    assert (apart > 100) == bound, apart


def test_a_lost_start_key_gives_other_weights_and_other_noise(tmp_path, monkeypatch):
    """What was heard is the same then, nothing; but what the first messages hide is not."""
    heard = Heard(monkeypatch)
    text = PLAIN + "protect h with gaussian(clip = 1.0, noise = 1000, passes = 0)\n"
    assert "train {" in text
    text = text.replace("train {", "train { secret_start true ")
    folder, out = bundle(text, tmp_path / "b"), tmp_path / "run"
    begun(folder, out, heard, 1, batch=16)
    (out / "alice" / "start.key").unlink()
    go_on(out)
    first, second = heard.sent["train", 1, "h.protected"]
    assert float(np.abs(first - second).max()) > 100


def test_what_is_sent_otherwise_is_charged(tmp_path, monkeypatch):
    """One message of each row for an epoch, and none where so much is not granted."""
    heard = Heard(monkeypatch)
    for name, passes in (("wide", 2), ("tight", 0)):
        text, out = ONE.replace("passes = 2", f"passes = {passes}"), tmp_path / name / "run"
        begun(bundle(text, tmp_path / f"b-{name}"), out, heard, 3)
        before = spent(out)
        copy = tmp_path / name / "copy"
        shutil.copytree(out, copy)
        go_on(out)
        if passes:
            metrics = go_on(copy, threads=2)
            noise = metrics["protections"][0]["noise"]
            assert metrics["protections"][0]["epsilon"] == pytest.approx(
                again(noise, 3 + passes + 2), rel=2e-3
            )
            assert before < spent(out) == pytest.approx(again(noise, 3 + 2), rel=2e-3)
        else:
            sent = {key: len(messages) for key, messages in heard.sent.items()}
            with pytest.raises(
                Failure, match=r"VFL0688.*alice would send different messages.*gaussian"
            ) as refused:
                go_on(copy, threads=2)
            assert "threads" in refused.value.help and spent(out) == before
            assert sent == {key: len(messages) for key, messages in heard.sent.items()}, "nothing was sent"


def test_what_was_sent_is_not_forgotten(tmp_path, monkeypatch):
    heard = Heard(monkeypatch)
    folder, out = bundle(ONE, tmp_path / "b"), tmp_path / "run"
    begun(folder, out, heard, 3)
    (file,) = (tmp_path / "ledger").glob("alice-*.sent")
    assert file.stat().st_mode & 0o077 == 0
    held = Sent(file)
    with pytest.raises(Failure, match="VFL0628"):
        go_on(out)
    held.close()
    file.chmod(0o666)
    with pytest.raises(Failure, match="VFL0659"):
        go_on(out)
    file.unlink()
    with pytest.raises(Failure, match=r"VFL0686.*lost"):
        go_on(out)


def test_a_secret_that_is_lost_is_not_made_anew(tmp_path, monkeypatch):
    """New noise on what was sent before would be one message more that nobody counts."""
    heard = Heard(monkeypatch)
    folder, out = bundle(ONE.replace("passes = 2", "passes = 0"), tmp_path / "b"), tmp_path / "run"
    begun(folder, out, heard, 3)
    path = out / "alice" / "protections.safetensors"
    tensors, metadata = files.read_tensors(path)
    path.unlink()
    files.write_tensors(path, {name: t for name, t in tensors.items() if name != "secret"}, metadata)
    with pytest.raises(Failure, match=r"VFL0621.*secret"):
        go_on(out)
    files.write_tensors(path, {**tensors, "secret": np.zeros(32, np.uint8)}, metadata)
    with pytest.raises(Failure, match="VFL0688"):
        go_on(out)
    assert path.stat().st_mode & 0o077 == 0


GUARD = Guard(
    "g", "gaussian", {}, "forward", (), (), None, (), None, 1, ("train", "evaluate"), "proven", "", None,
    "messages", None,
)  # fmt: skip
PROCESS = st.tuples(st.integers(0, 6), st.integers(1, 9), st.integers(0, 2), st.booleans())
FACTS = Facts(rows=6, train_rows=4, batch=2, epochs=3)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(1, 9), st.integers(0, 2), st.booleans()),
        min_size=1,
        max_size=6,
    )
)
def test_no_row_sends_more_than_was_counted(processes):
    """Processes that go on from any checkpoint, hear anything, and stop anywhere: each row's different
    messages are no more than its epochs and what was charged."""
    with tempfile.TemporaryDirectory() as folder:
        path, charges, sent = Path(folder) / "run.sent", [], defaultdict(set)
        Sent.create(path)
        checkpoints = {0: bytes(32)}
        for start, programs, salt, closes in processes:
            steps = max(step for step in checkpoints if step <= start)
            at = NoiseReplay(bytes(32), {}, FACTS)
            if steps:
                at.resume(checkpoints[steps], steps)
            log = Sent(path)
            at.watch(log, charges.append)
            for _ in range(programs):
                if steps == 6:
                    break
                message(at, "train", salt, sent, f"train {steps % 2}")
                steps += 1
                if steps % 2 == 0:
                    message(at, "evaluate", salt, sent, "held out")
                checkpoints[steps] = at.chain
            else:
                if steps % 2:  # asked for so many steps: validation before the epoch is over
                    message(at, "evaluate", salt, sent, "held out")
            if closes:
                log.close()
            else:
                os.close(log._file)
        assert max(map(len, sent.values())) <= 3 + len(charges)


def message(at: NoiseReplay, program: str, salt: int, sent: Any, row: str) -> None:
    at.begin(program)
    at.hear("edge", np.array([salt]))
    sent[row].add(at.noise(GUARD, 0).uniform(1)[0])
    at.finish()


def test_after_a_power_failure_what_is_not_known_counts_as_sent(tmp_path, monkeypatch):
    path = tmp_path / "run.sent"
    Sent.create(path)
    boot = tmp_path / "boot"
    monkeypatch.setattr(replay, "_BOOT", boot)

    def left(written: int, closed: bool, now: str) -> tuple[bool, bool]:
        """Whether a message that is there, and one that is not, count as sent otherwise after a start."""
        boot.write_text("one")
        log = Sent(path)
        for number in range(written):
            log.note(("train", 1, number, "g", 0), b"key")
        log.close() if closed else os.close(log._file)
        boot.write_text(now)
        log = Sent(path)
        found = [log.otherwise(("train", 1, number, "g", 0), b"key") for number in (0, 9_999)]
        for number in range(UNSYNCED):
            log.note(("train", written, 20_000 + number, "g", 0), b"key")
        assert not log.otherwise(("train", 1, 9_999, "g", 0), b"key"), "no more than may be lost"
        log.close()
        return found[0], found[1]

    assert left(3, True, "two") == (False, False)
    assert left(5, False, "one") == (False, False), "a process alone was killed"
    assert left(7, False, "two") == (False, True)
    with path.open("ab") as file:
        file.write(b"torn")
    assert left(9, False, "two") == (False, True)


def test_a_doubt_stays_until_it_is_used_up(tmp_path, monkeypatch):
    path, boot = tmp_path / "run.sent", tmp_path / "boot"
    monkeypatch.setattr(replay, "_BOOT", boot)
    Sent.create(path)
    for start in ("one", "two", "two"):
        boot.write_text(start)
        log = Sent(path)
        assert log.otherwise(("train", 1, 0, "g", 0), b"key") == (start == "two")
        os.close(log._file)
    boot.unlink()
    log = Sent(path)
    assert log.otherwise(("train", 1, 0, "g", 0), b"key"), "a machine that does not say when it was started"


def test_noise_follows_from_everything_it_must(tmp_path):
    """Another secret, term, message heard, program, guard or time gives other noise; the same the same."""

    def noise(**changed: Any) -> bytes:
        how = {"secret": 0, "terms": 0, "edge": "e", "value": 0.0, "before": 0, "program": "train",
               "guard": "g", "time": 0, "shape": (1, 1), **changed}  # fmt: skip
        at = NoiseReplay(bytes([how["secret"]]) * 32, {"threads": how["terms"]}, FACTS)
        for value in (how["before"], how["value"]):
            at.begin(how["program"])
            at.hear(how["edge"], np.full(how["shape"], value, np.float32))
            if value is how["before"]:
                at.finish()
        return at.noise(replace(GUARD, id=how["guard"]), how["time"]).normal((3,)).tobytes()

    others = [noise(**{name: value}) for name, value in {
        "secret": 1, "terms": 1, "edge": "f", "value": 1.0, "before": 1, "program": "evaluate", "guard": "h",
        "time": 1, "shape": (1,),
    }.items()]  # fmt: skip
    assert len({noise(), *others}) == 10 and noise() == noise()
    drawn = replay.noise_from(b"key")
    assert not np.array_equal(drawn.uniform(4), drawn.uniform(4)), "each number is drawn once"


def test_the_noise_of_a_batch_of_one_class_is_in_the_checkpoint():
    draw = np.random.default_rng(0)
    gradients, labels = draw.normal(size=(64, 3)), draw.integers(0, 2, 64)
    one, two = Marvell(0.5), Marvell(0.5)
    two.restore(one.memory(), one.counts())
    assert not two(gradients, np.zeros(64), Noise()).any(), "nothing is known before"
    one(gradients, labels, Noise())
    two.restore(one.memory(), {"withheld": 3})
    assert two.withheld == 3
    found = [m(gradients, np.ones(64), Noise(np.random.default_rng(1).bytes)) for m in (one, two)]
    assert np.array_equal(*found)
