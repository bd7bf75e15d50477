"""Words of a generation that is over are dropped by all, also by who comes between two of them."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest
import wiring
from threads import Exchange, ThreadsNetwork
from vflc_runtime.transport.frames import Frame, FrameKind, decode, encode
from vflc_runtime.transport.link import Link
from vflc_runtime.transport.mailbox import Mailbox
from vflc_runtime.transport.network import Restarted
from vflc_runtime.transport.rules import MessageRules

WORD = ("bob", "control", "word")


def test_who_joins_an_generation_forgets_the_words_before_it() -> None:
    mailbox, taken = Mailbox(("alice", "bob"), timeout=0.2), []
    mailbox.deliver(WORD, 2, b"old", lambda: taken.append("old"))
    mailbox.deliver(WORD, 3, b"new", lambda: taken.append("new"))
    mailbox.adopt()
    assert mailbox.generation == 3
    assert taken == ["old"], "what is dropped leaves room for more"
    assert mailbox.senders("control", "word") == ("bob",)
    assert mailbox.wait(WORD) == b"new"


def test_another_party_begins_again_while_one_that_began_again_waits_for_it() -> None:
    """carol is new and waits for alice, who is gone; bob tells carol his word twice meanwhile."""
    exchange = Exchange(("alice", "bob", "carol"), wiring.manifest(("alice", "bob", "carol")).controls)
    first = {place: exchange.join(place, timeout=wiring.LONG) for place in exchange.places}
    bob = wiring.opened(first)["bob"]
    del exchange.networks["alice"]
    carol = exchange.join("carol", timeout=wiring.LONG)
    opening = threading.Thread(target=carol.open)
    opening.start()
    begin_again(bob, "carol", b"carol began again")
    bob._mailbox.restarted("alice")
    begin_again(bob, "alice", b"alice, too")
    exchange.join("alice", timeout=wiring.LONG).open()
    opening.join(wiring.LONG)
    assert carol.hear("bob", "word", 100) == b"alice, too"


def begin_again(network: ThreadsNetwork, peer: str, word: bytes) -> None:
    with pytest.raises(Restarted) as caught:
        network.hear(peer, "word", 100)
    assert caught.value.peer == peer
    network.renew()
    network.tell("carol", "word", word)


def test_the_end_of_a_stream_does_not_silence_the_next() -> None:
    """The thread that wrote to the old stream may see that it is over after the new one's waits."""
    declared = wiring.manifest(("alice", "bob"))
    mailbox = Mailbox(("bob",), timeout=wiring.LONG)
    link = Link("bob", bytes(range(16)), MessageRules(declared, "alice", wiring.ROWS), mailbox)
    hello = encode(Frame(FrameKind.HELLO, version=1, generation=1, incarnation=bytes(range(1, 17))))
    before, _ = link.attach()
    link.arrived(before, hello)
    writing_before = link.outgoing(before)
    now, _ = link.attach()
    written: SimpleQueue[bytes] = SimpleQueue()
    writer = threading.Thread(target=lambda: [written.put(frame) for frame in link.outgoing(now)])
    writer.start()
    wiring.until(lambda: link._idle)
    assert list(writing_before) == []
    link.arrived(now, hello)
    link.beat()
    try:
        assert decode(written.get(timeout=wiring.LONG)).kind == FrameKind.RECEIPT
    finally:
        link.detach(now, "the test is over")
        link._wake_up.put(None)
        writer.join(wiring.LONG)
