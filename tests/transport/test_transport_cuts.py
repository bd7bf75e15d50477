"""Links that are cut, stall or wait, and processes that are replaced."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest
import wiring
from vflc_runtime.errors import Failure
from vflc_runtime.transport.grpc.network import GrpcNetwork
from vflc_runtime.transport.network import Ended, Restarted
from vflc_runtime.transport.rules import MessageRules


@pytest.fixture
def between(request: pytest.FixtureRequest) -> Iterator[tuple]:
    """alice, who listens, a proxy in front of her, and bob, who dials it; both open."""
    timeout = getattr(request, "param", wiring.LONG)
    alice = wiring.listening(timeout=timeout)
    proxy = wiring.Proxy(alice.bind())
    bob = wiring.dialling(proxy.address, timeout=timeout)
    assert wiring.together(lambda: alice.open(wiring.LONG), lambda: bob.open(wiring.LONG)) == [None, None]
    with wiring.closing(alice, bob):
        yield alice, proxy, bob
    proxy.close()


def exchange(network, place: str, peer: str, steps: int) -> None:
    for step in range(1, steps + 1):
        network.send(peer, wiring.envelope(place, peer, step))
        taken = network.take(peer, f"{peer}>{place}")
        assert wiring.same(taken, wiring.envelope(peer, place, step)), step
    network.close()


def test_cut_again_and_again_nothing_is_lost(between: tuple) -> None:
    alice, proxy, bob = between
    over = threading.Event()

    def cutting() -> None:
        chance = random.Random(7)
        while not over.wait(chance.uniform(0.05, 0.4)):
            proxy.cut()
            time.sleep(chance.uniform(0, 0.05))
            proxy.mend()

    cutter = threading.Thread(target=cutting)
    cutter.start()
    try:
        results = wiring.together(
            lambda: exchange(alice, "alice", "bob", 1500), lambda: exchange(bob, "bob", "alice", 1500)
        )
    finally:
        over.set()
        cutter.join()
        proxy.mend()
    assert results == [None, None]
    assert proxy.connections > 3


@pytest.mark.parametrize("what", ["cut", "stall"])
def test_a_second_without_a_link(between: tuple, what: str) -> None:
    alice, proxy, bob = between
    alice.tell("bob", "word", b"before")
    assert bob.hear("alice", "word", 100) == b"before"
    proxy.cut() if what == "cut" else proxy.stall()
    alice.tell("bob", "word", b"meanwhile")
    bob.tell("alice", "word", b"as well")
    threading.Timer(1.0, proxy.mend if what == "cut" else proxy.go_on).start()
    assert bob.hear("alice", "word", 100) == b"meanwhile"
    assert alice.hear("bob", "word", 100) == b"as well"


@pytest.mark.parametrize("between", [4.0], indirect=True)
def test_a_stall_is_noticed_and_dialled_around(between: tuple) -> None:
    """Connections that let nothing through any more, as after a firewall forgot them."""
    alice, proxy, bob = between
    proxy.stall()
    bob.tell("alice", "word", b"lost on the way")
    wiring.until(lambda: "nothing heard for 2 s" in bob._links["alice"].state)  # half of the timeout
    assert not bob._links["alice"].connected
    proxy.cut()
    proxy.go_on()
    proxy.mend()
    assert alice.hear("bob", "word", 100) == b"lost on the way"


@pytest.mark.parametrize("between", [4.0], indirect=True)
def test_what_stays_away_ends_the_wait_in_time(between: tuple) -> None:
    _, proxy, bob = between
    proxy.cut()
    begin = time.monotonic()
    with pytest.raises(Failure) as caught:
        bob.hear("alice", "word", 100, timeout=600)
    assert 2 < time.monotonic() - begin < 300, "the network's own timeout bounds a longer wait"
    assert caught.value.code == "VFL0641"
    assert "down since" in caught.value.message
    proxy.mend()


def test_a_slow_link_is_no_failure(between: tuple) -> None:
    alice, proxy, bob = between
    proxy.delay = 0.02
    results = wiring.together(
        lambda: exchange(alice, "alice", "bob", 20), lambda: exchange(bob, "bob", "alice", 20)
    )
    assert results == [None, None]


@pytest.mark.parametrize("killed", ["alice", "bob"])
def test_another_process_in_its_place(killed: str) -> None:
    alice = wiring.listening()
    port = alice.bind()
    proxy = wiring.Proxy(port)
    bob = wiring.dialling(proxy.address)
    assert wiring.together(alice.open, bob.open) == [None, None]
    alice.tell("bob", "word", b"of the first")
    bob.tell("alice", "word", b"of the first")
    wiring.until(lambda: alice.told("word") == ("bob",) and bob.told("word") == ("alice",))
    if killed == "alice":
        proxy.cut()
        alice._stop()
        alice, survivor, dead = wiring.listening(port=port), bob, "alice"
        proxy.mend()
        new = alice
    else:
        bob._stop()
        bob, survivor, dead = wiring.dialling(proxy.address), alice, "bob"
        new = bob
    with wiring.closing(alice, bob):
        assert wiring.together(new.open) == [None]
        with pytest.raises(Restarted) as caught:
            survivor.hear(dead, "late", 100)
        assert caught.value.peer == dead
        survivor.renew()
        with pytest.raises(Restarted):
            new.hear(survivor.place, "late", 100)
        new.renew()
        survivor.tell(dead, "word", b"of the second")
        new.tell(survivor.place, "word", b"of the second")
        assert new.hear(survivor.place, "word", 100) == b"of the second"
        assert survivor.hear(dead, "word", 100) == b"of the second"
        assert new.told("word") == survivor.told("word") == ()
    proxy.close()


def test_what_was_meant_for_a_process_that_is_gone_is_dropped() -> None:
    alice = wiring.listening()
    link = alice._links["bob"]
    session = link.session
    link.push(lambda number: b"to the first", session=session)
    link._begin()
    link.push(lambda number: b"late, to the first", session=session)
    link.push(lambda number: b"to the second", session=link.session)
    assert [frame for _, frame in link._kept] == [b"to the second"]


def test_who_sends_too_far_ahead_waits() -> None:
    width = 1 << 14  # messages of 4 MiB: 16 MiB may be on their way
    networks = wiring.opened(wiring.grpc("alice", "bob", width=width))
    alice, bob = networks["alice"], networks["bob"]
    with wiring.closing(alice, bob):
        sent: list[float] = []

        def sending() -> None:
            for step in range(12):
                alice.send("bob", wiring.envelope("alice", "bob", step, width=width))
                sent.append(time.monotonic())

        sender = threading.Thread(target=sending)
        sender.start()
        wiring.until(lambda: len(sent) >= 4)
        time.sleep(0.5)
        assert len(sent) <= 5, "send returns before anything is taken, up to a bound"
        for step in range(12):
            assert bob.take("alice", "alice>bob").step == step
        sender.join(wiring.LONG)
        assert len(sent) == 12
        assert alice.waited["bob"] > 0.3


def test_who_is_done_waits_until_all_has_arrived(between: tuple) -> None:
    alice, proxy, bob = between
    proxy.stall()
    bob.tell("alice", "word", b"the last word")
    threading.Timer(0.5, proxy.go_on).start()
    bob.close()
    assert alice.hear("bob", "word", 100) == b"the last word"
    with pytest.raises(Ended):
        alice.hear("bob", "word", 100)
    alice.close()


def test_nobody_there() -> None:
    bob = wiring.dialling("127.0.0.1:1", timeout=0.5)
    alice = wiring.listening(timeout=0.5)
    with wiring.closing(alice, bob):
        for outcome, named in zip(
            wiring.together(alice.open, bob.open),
            ("'bob', which has to dial", "'alice' at 127.0.0.1:1"),
            strict=True,
        ):
            assert isinstance(outcome, Failure)
            assert (outcome.code, outcome.exit_code) == ("VFL0640", 3)
            assert named in outcome.message


def test_an_address_that_is_taken() -> None:
    alice = wiring.listening()
    port = alice.bind()
    with pytest.raises(Failure) as caught:
        wiring.listening(port=port).bind()
    assert caught.value.code == "VFL0646"
    alice.close()


def test_one_of_two_has_to_listen() -> None:
    with pytest.raises(Failure) as caught:
        wiring.dialling(None).open()
    assert caught.value.code == "VFL0640"
    assert "neither 'bob' nor 'alice' listens" in caught.value.message


def test_who_is_not_dialled_dials() -> None:
    """alice listens, but bob, who comes second, does not know where."""
    alice = wiring.listening()
    rules = MessageRules(wiring.manifest(("alice", "bob")), "bob", wiring.ROWS)
    bob = GrpcNetwork("bob", {"alice": None}, "127.0.0.1:0", rules, None, wiring.LONG)
    alice._addresses["bob"] = f"127.0.0.1:{bob.bind()}"
    with wiring.closing(alice, bob):
        assert wiring.together(alice.open, bob.open) == [None, None]
        alice.tell("bob", "word", b"here")
        assert bob.hear("alice", "word", 100) == b"here"
