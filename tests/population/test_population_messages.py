"""Nothing but what the manifest declares crosses between users and hub, and what crosses is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from population.population_testing import compiled, ratings, rounds_of, table
from population.reference import FACTORS, spec
from vflc_runtime.errors import Failure
from vflc_runtime.population.rounds import Rounds
from vflc_runtime.run.client_executor import ClientExecutor
from vflc_runtime.transport.local import LocalNetwork
from vflc_runtime.transport.messages import Envelope

SETTINGS = "rounds 3  cohort 6  batch 3  test 0.2  validation 0.2"
ASK, INTO, BACK = "users>hub.forward", "hub>users.forward", "users>hub.backward"
Change = Callable[[Envelope], Envelope]


@pytest.fixture
def rounds(tmp_path) -> Rounds:
    return rounds_of(compiled(spec(SETTINGS), tmp_path), table(ratings()))


def tensors(**changes: Any) -> Change:
    """Other tensors in a message: new ones, or what is made of those that are there."""

    def change(envelope: Envelope) -> Envelope:
        made = {name.replace("__", "."): value for name, value in changes.items()}
        for name, value in made.items():
            if callable(value):
                made[name] = value(envelope.tensors[name])
        return replace(envelope, tensors={**envelope.tensors, **made})

    return change


def header(**changes: Any) -> Change:
    return lambda envelope: replace(envelope, **changes)


DEVIATIONS: list[tuple[str, Change, str]] = [
    (BACK, tensors(users__rating=np.zeros(6)), r"edges added \['users.rating'\]"),
    (BACK, tensors(taste=np.zeros((6, FACTORS))), r"edges added \['taste'\]"),
    (ASK, tensors(users__item=np.zeros(6, np.int32)), r"edges added \['users.item'\]"),
    (ASK, header(message=BACK), "wait for messages that nobody sends"),
    (ASK, header(message="users>hub.more"), "wait for messages that nobody sends"),
    (ASK, header(sender="mallory"), "wait for messages that nobody sends"),
    (BACK, header(phase="forward"), "phase 'forward' instead of 'backward'"),
    (BACK, header(step=7), "step 7 instead of 1"),
    (INTO, header(step=0), "step 0 instead of 1"),
    (INTO, header(program="predict"), "program 'predict'"),
    (ASK, tensors(items__ids=lambda t: t.astype(np.int64)), "type int64 instead of int32"),
    (ASK, tensors(items__ids=lambda t: t.reshape(-1, 1)), "'items.ids' of shape"),
    (ASK, tensors(items__ids=lambda t: t - 1 - t.min()), "'items.ids' from -1 to"),
    (ASK, tensors(items__ids=lambda t: t + 30), "'items.ids' from 30 to .*, of 30 rows"),
    (INTO, tensors(items=lambda t: t[1:]), "rows of 'items', where"),
    (INTO, tensors(items=lambda t: t[:, 1:]), "edge 'items' of shape"),
    (INTO, tensors(mean=lambda t: t[1:]), r"edge 'mean' of shape \[5, 1\] instead of \[6, 1\]"),
    (INTO, tensors(mean=lambda t: t[0]), "edge 'mean' of shape"),
    (BACK, tensors(items__delta=lambda t: np.concatenate([t, t])), "rows of 'items.delta'"),
    (BACK, tensors(mean__delta=lambda t: t.sum(0, keepdims=True)), r"shape \[1, 1\] instead of \[6, 1\]"),
    (BACK, tensors(users__examples=lambda t: t[:1]), r"shape \[1\] instead of \[6\]"),
    (BACK, tensors(users__examples=lambda t: -1 - t), "'users.examples' below 0"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(DEVIATIONS)))
def test_every_deviation_is_refused_and_changes_nothing(rounds, monkeypatch, number) -> None:
    message, change, named = DEVIATIONS[number]
    original = LocalNetwork.put
    met = []

    def tampered(self: LocalNetwork, receiver: str, envelope: Envelope) -> None:
        if envelope.message == message:
            met.append(message)
            envelope = change(envelope)
        original(self, receiver, envelope)

    before = {name: value.copy() for name, value in rounds.hub.weights.items()}
    with monkeypatch.context() as patch:
        patch.setattr(LocalNetwork, "put", tampered)
        with pytest.raises(Failure, match=named) as refused:
            rounds.step(0)
    assert (refused.value.code, refused.value.exit_code) == ("VFL0615", 3) and met
    assert all(np.array_equal(before[name], value) for name, value in rounds.hub.weights.items())
    rounds.step(0)


@pytest.mark.parametrize("program", ["evaluate", "predict"])
def test_measuring_and_predicting_take_nothing_more_either(rounds, monkeypatch, program) -> None:
    executor = ClientExecutor(rounds.population, rounds.settings, training=False)
    chosen, given = np.arange(4), np.arange(int(rounds.users.starts[-1])) % 2 == 0
    more = (given,) if program == "predict" else ()
    run = getattr(executor, program)
    original = LocalNetwork.put

    def twice(self: LocalNetwork, receiver: str, envelope: Envelope) -> None:
        original(self, receiver, envelope)
        back = {**envelope.tensors, "users.rating": np.zeros(4)}
        original(self, "hub", replace(envelope, message=BACK, sender="users", tensors=back))

    with monkeypatch.context() as patch:
        patch.setattr(LocalNetwork, "put", twice)
        with pytest.raises(Failure, match=f"message '{BACK}', which is not due"):
            run(rounds.users, chosen, rounds.hub.weights, *more)
    run(rounds.users, chosen, rounds.hub.weights, *more)


@pytest.mark.parametrize("program", ["train", "evaluate"])
def test_what_is_counted_is_what_was_sent(rounds, program) -> None:
    heard: dict[str, int] = {}

    def listen(envelope: Envelope) -> None:
        assert envelope.program == program
        for edge, tensor in envelope.tensors.items():
            heard[edge] = heard.get(edge, 0) + tensor.nbytes

    executor = ClientExecutor(rounds.population, rounds.settings, listen=listen)
    chosen, more = rounds.split.train[:6], (0,) if program == "train" else ()
    sent = getattr(executor, program)(rounds.users, chosen, rounds.hub.weights, *more).sent
    assert {edge: count for edge, count in sent.items() if count} == heard
    assert set(sent) == set(rounds.population.manifest.edges)


def test_a_user_that_counts_for_nothing_sends_zeros(rounds) -> None:
    """One of the users has a single example."""
    heard: list[Envelope] = []
    executor = ClientExecutor(rounds.population, rounds.settings, listen=heard.append)
    assert rounds.users.starts[1] == 1
    assert executor.train(rounds.users, np.array([0]), rounds.hub.weights, 0).small == 1
    (back,) = (each.tensors for each in heard if each.message == BACK)
    assert back["users.examples"].tolist() == [0] and not any(tensor.any() for tensor in back.values())
