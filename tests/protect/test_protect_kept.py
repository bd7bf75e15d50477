"""What protections keep in a run's folder, and what a resumed run does with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from protecting_parts import (
    FACTS,
    MEMORY,
    NORMAL,
    SHIFT,
    Engine,
    guard,
    guards,
    refused,
)
from vflc_runtime import files
from vflc_runtime.errors import Failure
from vflc_runtime.protect import record
from vflc_runtime.protect.guards import Guards


def test_a_run_keeps_what_it_found_and_the_secret_of_its_noise(tmp_path: Any) -> None:
    (tmp_path / "alice").mkdir()
    made = guard(NORMAL, replace(SHIFT, id="g.shift", width=1))

    def begun(terms: Any = ()) -> Guards:
        at = guards(made)
        record.begin(tmp_path, {"alice": at}, {}, FACTS, {}, {"alice": dict(terms)})
        return at

    def noise(at: Guards) -> bytes:
        engine = Engine()
        at.begin("train")
        at.hear("edge", np.array([1.0]))
        at.apply("g", engine, 2, np.array([0, 1]))
        return bytes(engine["g.noise"].tobytes())

    first, second = begun(), begun()
    assert first.settings() == second.settings() and noise(first) == noise(second) != noise(begun({"x": 1}))
    assert np.array_equal(first.drawn()["g.shift"], second.drawn()["g.shift"])
    first.finish("train", Engine(), 2, None)
    later = begun()
    later.resume(first.counts(), first.memories())
    assert later.replay is not None and first.replay is not None and later.replay.chain == first.replay.chain
    assert noise(later) == noise(first)
    passing = guards(guard(NORMAL, programs=("train", "evaluate")))
    record.apply(tmp_path, {"alice": passing}, "predict")
    assert passing.settings()["g"]["noise"] is None
    record.apply(tmp_path, {"alice": passing}, "evaluate")
    assert passing.settings()["g"]["noise"] == 2.0
    (tmp_path / "bob").mkdir()
    record.begin(tmp_path, {"bob": guards()}, {}, FACTS, {}, {})
    assert not any((tmp_path / "bob").iterdir()), "a place without protections keeps nothing"
    for damage in ({}, {"settings": "{"}, {"settings": "[]"}, {"settings": '{"g": 1}'}):
        path = tmp_path / "alice" / record.FILE
        tensors, _ = files.read_tensors(path)
        path.unlink()
        files.write_tensors(path, tensors, damage)
        refused("VFL0621", begun)


def test_what_is_sent_is_watched_where_noise_is_counted(tmp_path: Any) -> None:
    (tmp_path / "alice").mkdir()
    at, charged = guards(guard(NORMAL)), list[tuple[str, str]]()
    record.begin(tmp_path, {"alice": at}, {}, FACTS, {}, {"alice": {}})

    def step(salt: float) -> None:
        at.begin("train")
        at.hear("edge", np.array([salt]))
        at.apply("g", Engine(), 2, None)

    with record.watching(tmp_path, {"alice": at}, {}, lambda *who: charged.append(who)):
        step(1.0)
        step(1.0)
        assert not charged, "the same again tells nothing new"
        step(2.0)
        step(3.0)
        assert charged == [("alice", "g")], "once for all rows of an epoch"
    assert at.settings()["g"]["resumed"] == 1
    again = guards(guard(NORMAL))
    record.begin(tmp_path, {"alice": again}, {}, FACTS, {}, {"alice": {}})
    assert again.settings()["g"]["resumed"] == 1, "it is written down at once"
    kept = {"ledger": {"folder": str(tmp_path), "run": "r"}}
    assert record._sent(tmp_path, "alice", kept) == tmp_path / "alice-r.sent"
    assert record._sent(tmp_path, "alice", {}) == tmp_path / "alice" / "noise.sent"


def test_noise_in_a_step_follows_from_what_was_heard(tmp_path: Any) -> None:
    """Two guards of a step have noise of their own, and so has a guard that runs twice in it."""
    twice = guards(guard(replace(NORMAL, scale=1.0)), train=2)
    assert twice.bind({}) is None and twice.replay is None, "before the run is known there is none"
    twice.prepare(FACTS)
    assert twice.bind({}) is twice.replay is not None
    assert guards(guard(MEMORY, accounting=None)).bind({}) is None
    seen = []
    for _ in range(2):
        twice.begin("train")
        for _ in range(2):
            engine = Engine()
            twice.apply("g", engine, 3, None)
            seen.append(engine["g.noise"].tobytes())
    assert seen[:2] == seen[2:] and seen[0] != seen[1]
    twice.finish("train", Engine(), 3, None)
    assert twice.counts() == {"g": {"steps": 1, "rows": 3}}
    twice.begin("train")
    engine = Engine()
    twice.apply("g", engine, 3, None)
    assert engine["g.noise"].tobytes() not in seen, "another step"
    with pytest.raises(Failure, match="VFL0621"):
        fresh = guards(guard(NORMAL))
        fresh.prepare(FACTS)
        fresh.bind({}, {})


def test_guards_that_are_solved_keep_their_noise() -> None:
    given = {"options": {"sum_kl": 1.0}, "before": ("a",), "after": ("b",), "reads": "y"}
    made = guard(solver="marvell", accounting=None, **given)
    one, two = guards(made), guards(made)
    gradients = np.random.default_rng(0).normal(size=(6, 2))
    gradients[:3] += 2
    both = np.array([[1.0], [1], [1], [0], [0], [0]])
    for at, held in ((one, both), (two, 0 * both)):
        at.prepare(FACTS)
        engine = Engine({"a": gradients, "y": held})
        at.begin("train")
        at.apply("g", engine, 6, None)
        at.finish("train", engine, 6, None)
        assert engine["b"].any() == bool(held.any())
    assert one.counts()["g"] == {"steps": 1, "rows": 6, "withheld": 0} and two.counts()["g"]["withheld"] == 1
    assert not two.memories() and set(one.memories()) == {
        f"g.{part}" for part in ("axes", "negative", "positive", "direction", "along")
    }
    two.restore(FACTS, {"g": {"epochs": 4}}, {})
    two.resume(one.counts(), one.memories())
    assert two.counts() == one.counts()
    engine = Engine({"a": gradients, "y": 0 * both})
    two.begin("train")
    two.apply("g", engine, 6, None)
    assert engine["b"].any() and two.counts()["g"]["withheld"] == 0
    (entry,) = one.report({}, 1)
    assert entry["withheld"] == 0 and "noise" not in entry and "epsilon" not in entry
