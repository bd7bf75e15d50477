"""All places in one process: what is sent is taken once and in order, and nothing may be left over."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from vflc_runtime.errors import Failure
from vflc_runtime.transport.local import LocalNetwork
from vflc_runtime.transport.messages import Envelope


def envelope(sender: str, step: int, message: str = "m") -> Envelope:
    return Envelope(message, sender, "forward", "train", step, {"e": np.zeros(2)})


def test_each_takes_what_is_for_it_once_and_in_order() -> None:
    network = LocalNetwork()
    alice, bob = network.channel("alice"), network.channel("bob")
    sent = [envelope("alice", step) for step in (1, 2)]
    for each in sent:
        alice.send("bob", each)
    for taker, sender, message in ((alice, "alice", "m"), (bob, "carol", "m"), (bob, "alice", "n")):
        assert taker.take(sender, message) is None
    assert [bob.take("alice", "m") for _ in range(3)] == [*sent, None]


def test_every_message_is_told_as_it_is_sent() -> None:
    told: list[Envelope] = []
    network = LocalNetwork(told.append)
    for step in (1, 2):
        network.put("bob", envelope("alice", step))
        assert [each.step for each in told] == list(range(1, step + 1))


def counting(network: LocalNetwork, place: str, peer: str, first: bool, steps: int = 3) -> Iterator[None]:
    """Sends and takes in turn, as a session does."""
    channel = network.channel(place)
    for step in range(steps):
        if first:
            channel.send(peer, envelope(place, step))
        while (found := channel.take(peer, "m")) is None:
            yield
        assert found.step == step
        if not first:
            channel.send(peer, envelope(place, step))


def test_places_take_turns_until_all_are_done() -> None:
    network = LocalNetwork()
    bob, alice = (counting(network, *names) for names in (("bob", "alice", False), ("alice", "bob", True)))
    network.run({"bob": bob, "alice": alice})  # type: ignore[dict-item]
    assert network.moved == 2 * 2 * 3


def test_a_wait_for_what_nobody_sends_ends_the_run() -> None:
    network = LocalNetwork()
    places = {name: counting(network, name, other, first=False) for name, other in ("ab", "ba")}
    with pytest.raises(Failure, match="VFL0615: 'a', 'b' wait for messages that nobody sends") as caught:
        network.run(places)  # type: ignore[arg-type]
    assert caught.value.exit_code == 3


def test_a_message_that_nobody_took_is_refused_and_forgotten() -> None:
    network = LocalNetwork()
    network.put("bob", envelope("alice", 1, "extra"))
    with pytest.raises(Failure, match="'bob' refused what 'alice' sent: message 'extra'") as caught:
        network.run({})
    assert (caught.value.code, caught.value.exit_code) == ("VFL0615", 3)
    network.clear()
    network.run({})
