"""What a network promises holds between threads and over gRPC alike."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import wiring
from vflc_runtime import events
from vflc_runtime.bundle.manifest import Manifest
from vflc_runtime.errors import Failure
from vflc_runtime.transport import mailbox
from vflc_runtime.transport.messages import Gate
from vflc_runtime.transport.network import Ended, Network, Restarted

Make = Callable[..., dict[str, Network]]

KINDS = {"threads": wiring.threads, "grpc": wiring.grpc}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Make:
    return KINDS[request.param]


@pytest.mark.parametrize("places", [("alice", "bob"), ("alice", "bob", "carol", "dave")])
def test_everything_arrives_once_and_in_order(make: Make, places: tuple[str, ...]) -> None:
    networks = wiring.opened(make(*places))
    manifest: Manifest = wiring.manifest(places)

    def work(place: str) -> None:
        network, gate = networks[place], Gate(manifest, place, "train")
        for step in range(1, 30):
            for peer in network.peers:
                network.send(peer, wiring.envelope(place, peer, step))
                network.tell(peer, "word", step.to_bytes(4, "big") * (step % 3))
            for peer in network.peers:
                envelope = network.take(peer, f"{peer}>{place}")
                gate.check(f"{peer}>{place}", envelope, step, wiring.ROWS)
                assert wiring.same(envelope, wiring.envelope(peer, place, step))
                assert network.hear(peer, "word", 100) == step.to_bytes(4, "big") * (step % 3)
        network.close()

    assert wiring.together(*(lambda place=place: work(place) for place in places)) == [None] * len(places)
    for place, network in networks.items():
        sizes = [each.payload_out for each in network.traffic.values()]
        assert sizes == [29 * (wiring.ROWS * wiring.WIDTH * 4 + 12) + 4 * 30] * (len(places) - 1), place
        for each in network.traffic.values():
            assert each.payload_in == sizes[0]
            around = [each.wire_out - each.payload_out, each.wire_in - each.payload_in]
            assert (around == [0, 0]) if make is wiring.threads else min(around) > 0


def test_what_was_sent_may_change_afterwards(make: Make) -> None:
    networks = wiring.opened(make("alice", "bob"))
    with wiring.closing(*networks.values()):
        envelope = wiring.envelope("alice", "bob", 1)
        networks["alice"].send("bob", envelope)
        envelope.tensors["alice>bob.wide"].fill(np.nan)
        taken = networks["bob"].take("alice", "alice>bob")
        assert wiring.same(taken, wiring.envelope("alice", "bob", 1))
        with pytest.raises(ValueError, match="read-only"):
            taken.tensors["alice>bob.wide"][0] = 0


def test_a_wait_that_lasts_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "NOTICE", 0.02)
    networks = wiring.opened(make("alice", "bob"))
    alice, told = networks["alice"], []
    alice.report_to(told.append)
    with wiring.closing(*networks.values()), pytest.raises(Failure, match="VFL0641"):
        alice.hear("bob", "word", 100, timeout=2.0)
    assert {(each.peer, each.kind, each.limit) for each in told} == {("bob", "control 'word'", 2.0)}
    assert 2 <= len(told) <= 7, "after 0.02 s, and whenever it has lasted twice as long"
    assert all(2 * a.seconds <= b.seconds for a, b in itertools.pairwise(told))


def test_a_party_that_is_not_there_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "NOTICE", 0.02)
    told: list[events.Event] = []
    alice = wiring.listening(timeout=2.0)
    alice.report_to(told.append)
    with wiring.closing(alice), pytest.raises(Failure, match="VFL0640"):
        alice.open()
    assert told and (told[0].peer, told[0].kind) == ("bob", "a connection")


def test_names_wait_for_themselves_only(make: Make) -> None:
    networks = wiring.opened(make("alice", "bob"))
    alice, bob = networks["alice"], networks["bob"]
    with wiring.closing(alice, bob):
        alice.tell("bob", "word", b"first")
        alice.send("bob", wiring.envelope("alice", "bob", 1))
        alice.tell("bob", "late", b"last")
        assert bob.hear("alice", "late", 100) == b"last"
        assert bob.told("word") == ("alice",)
        assert bob.told("late") == ()
        assert bob.take("alice", "alice>bob").step == 1
        assert bob.hear("alice", "word", 100) == b"first"


def test_a_wait_ends_and_says_for_whom(make: Make) -> None:
    networks = wiring.opened(make("alice", "bob"))
    networks["bob"]._mailbox.timeout = 0.3
    with wiring.closing(*networks.values()):
        begin = time.monotonic()
        with pytest.raises(Failure) as caught:
            networks["bob"].take("alice", "alice>bob")
        assert time.monotonic() - begin > 0.25
        assert (caught.value.code, caught.value.exit_code) == ("VFL0641", 3)
        assert "'alice' did not send message 'alice>bob' within " in caught.value.message
        assert "connected" in caught.value.message
        assert networks["bob"].waited["alice"] > 0.25


def test_a_longer_wait_for_who_is_alive(make: Make) -> None:
    networks = wiring.opened(make("alice", "bob"))
    networks["bob"]._mailbox.timeout = 2.0
    with wiring.closing(*networks.values()):
        threading.Timer(3.5, lambda: networks["alice"].tell("bob", "word", b"at last")).start()
        assert networks["bob"].hear("alice", "word", 100, timeout=wiring.LONG) == b"at last"


def test_only_what_is_declared_is_told(make: Make) -> None:
    networks = wiring.opened(make("alice", "bob"))
    with wiring.closing(*networks.values()):
        for kind, size, said in (("gossip", 1, "declare"), ("word", 101, "101 bytes of .*'word'")):
            with pytest.raises(Failure, match=said) as caught:
                networks["alice"].tell("bob", kind, bytes(size))
            assert caught.value.code == "VFL0615"
        networks["alice"].tell("bob", "word", bytes(100))
        with pytest.raises(Failure) as caught:
            networks["bob"].hear("alice", "word", 99)
        assert (caught.value.code, caught.value.exit_code) == ("VFL0645", 3)


@pytest.mark.parametrize("reason", ["interrupted", "failed"])
def test_who_gives_up_ends_every_wait(make: Make, reason: str) -> None:
    networks = wiring.opened(make("alice", "bob", "carol"))
    with wiring.closing(*networks.values()):
        leaving = threading.Timer(0.1, lambda: networks["alice"].close(reason))
        leaving.start()
        with pytest.raises(Ended) as caught:
            networks["bob"].take("carol", "carol>bob")
        assert (caught.value.peer, caught.value.reason) == ("alice", reason)
        with pytest.raises(Ended):
            networks["bob"].tell("carol", "word", b"")
        leaving.join()


def test_who_is_done_ends_only_the_wait_for_it(make: Make) -> None:
    networks = wiring.opened(make("alice", "bob", "carol"))
    with wiring.closing(*networks.values()):
        networks["alice"].tell("bob", "word", b"farewell")
        networks["alice"].close()
        networks["carol"].tell("bob", "word", b"still here")
        assert networks["bob"].hear("carol", "word", 100) == b"still here"
        assert networks["bob"].hear("alice", "word", 100) == b"farewell"
        with pytest.raises(Ended) as caught:
            networks["bob"].hear("alice", "word", 100)
        assert caught.value.reason == "done"


def test_a_new_generation_forgets_the_old_one_everywhere(make: Make) -> None:
    networks = wiring.opened(make("alice", "bob", "carol"))
    alice, bob, carol = networks.values()
    with wiring.closing(*networks.values()):
        bob.tell("carol", "word", b"old, unread")
        carol.tell("bob", "word", b"old, too")
        wiring.until(lambda: bob.told("word") == ("carol",) and carol.told("word") == ("bob",))
        alice.renew()
        alice.tell("bob", "word", b"new")
        for each in (bob, carol):
            for _ in range(2):
                with pytest.raises(Restarted) as caught:
                    each.hear("alice", "word", 100)
                assert caught.value.peer == "alice"
        bob.renew()
        carol.renew()
        assert bob.hear("alice", "word", 100) == b"new"
        bob.tell("carol", "word", b"newer")
        assert carol.hear("bob", "word", 100) == b"newer"
        carol.tell("alice", "word", b"all agree")
        assert alice.hear("carol", "word", 100) == b"all agree"
        assert bob.told("word") == ()
