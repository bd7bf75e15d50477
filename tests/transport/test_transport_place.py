"""A place between its links, by a clock that the test sets: how long it waits, for whom, and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import wiring
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.transport import linked
from vflc_runtime.transport.frames import FrameKind, decode
from vflc_runtime.transport.grpc.network import GrpcNetwork
from vflc_runtime.transport.mailbox import Mailbox
from vflc_runtime.transport.network import REASONS, Reason, Restarted
from vflc_runtime.transport.rules import MessageRules

TIMEOUT = 10.0
PLACES = ("alice", "bob", "carol", "dave")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Its `now` is what every clock of a network says."""
    clock = SimpleNamespace(now=100.0, strftime=lambda form: "12:00:00")
    clock.monotonic = clock.time = lambda: clock.now
    monkeypatch.setattr(linked, "time", clock)
    return clock


def make(
    place: str = "bob", listen: str | None = None, timeout: float = TIMEOUT, **known: str
) -> GrpcNetwork:
    """A place of four, which knows the addresses of some; not open."""
    addresses = {peer: known.get(peer) for peer in PLACES if peer != place}
    rules = MessageRules(wiring.manifest(PLACES), place, wiring.ROWS)
    return GrpcNetwork(place, addresses, listen, rules, None, timeout)


class Waits:
    """Takes the place of `Mailbox.until`: keeps what was asked for; each wait takes 4 seconds."""

    def __init__(self, clock: SimpleNamespace, box: Mailbox, outcome: bool | BaseException = True) -> None:
        self.clock, self.outcome, self.asked = clock, outcome, list[tuple[Any, ...]]()
        self.meanwhile: Callable[[], object] = lambda: None
        box.until = self

    def __call__(self, ready: Callable[[], bool], peer: str, timeout: float, *rest: Any) -> bool:
        self.asked.append((ready, peer, timeout, *rest))
        self.clock.now += 4
        self.meanwhile()
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


# --- opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("within", "most"), [(None, 10.0), (6.0, 6.0)])
def test_all_connections_together_have_the_time_of_one(
    within: float | None, most: float, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads are running by then that end with the process: those that dial, and one for what is regular."""
    bob, started = make(), list[object]()

    def thread(target: object, name: str, daemon: bool) -> SimpleNamespace:
        return SimpleNamespace(start=lambda: started.append((target, daemon)))

    monkeypatch.setattr(bob, "_dial", lambda peer: None)
    monkeypatch.setattr(linked, "Thread", thread)
    bob._dialers = [SimpleNamespace(thread=thread("dialling", "", True))]
    waits = Waits(clock, bob._mailbox)
    bob._mailbox.announce("dave", 7)
    bob.open(within)
    assert started == [("dialling", True), (bob._beat, True)]
    links, asked = bob._links, (Restarted,)
    assert waits.asked == [
        (links[peer].has_met, peer, most - spent, asked, "a connection")
        for peer, spent in (("alice", 0), ("carol", 4), ("dave", 8))
    ]
    assert bob._mailbox.generation == 7, "and then the place joins the generation of the others"
    waits.outcome = False
    with pytest.raises(
        Failure, match=f"no connection within {most:g} s to 'alice', which has to dial"
    ) as late:
        bob.open(within)
    assert (late.value.code, late.value.exit_code) == ("VFL0640", PEER)


def test_why_there_is_no_connection() -> None:
    bob = make(alice="127.0.0.1:7")
    said = [bob._unreached(peer, 2.5).message for peer in ("alice", "carol")]
    assert said == [
        "no connection within 2.5 s to 'alice' at 127.0.0.1:7: not connected yet",
        "no connection within 2.5 s to 'carol', which has to dial None: not connected yet",
    ]
    bob._links["alice"].taken = 0.0
    assert bob._unreached("alice", 2.5).code == "VFL0657"


@pytest.mark.parametrize(
    ("place", "listen", "delay"),
    [("bob", None, 0.0), ("bob", "127.0.0.1:0", 2.0), ("dave", "127.0.0.1:0", 0.0), ("dave", None, 0.0)],
)
@pytest.mark.parametrize(("timeout", "patience"), [(60.0, 10.0), (4.0, 4.0)])
def test_who_dials_whom(
    place: str, listen: str | None, delay: float, timeout: float, patience: float
) -> None:
    """Of two that listen the second; within 10 seconds a stream is to begin."""
    here = make(place, listen, timeout, carol="127.0.0.1:7")
    here._dial("carol")
    (dialer,) = here._dialers
    assert (dialer.link, dialer._address) == (here._links["carol"], "127.0.0.1:7")
    assert sorted(dialer._parties) == sorted(PLACES)
    assert (dialer._delay, dialer._patience, dialer.thread.daemon) == (delay, patience, True)
    if listen is None:
        with pytest.raises(Failure, match=f"neither '{place}' nor 'alice' listens") as nobody:
            here._dial("alice")
        assert nobody.value.code == "VFL0640"
    else:
        here._dial("alice")
    assert len(here._dialers) == 1


def test_who_cannot_open_can_close() -> None:
    """alice can be dialled and carol cannot: nobody has dialled yet when this is found."""
    bob = make(alice="127.0.0.1:7")
    with pytest.raises(Failure, match="neither 'bob' nor 'carol' listens"):
        bob.open()
    bob.close("failed")
    assert bob._closed.is_set()


# --- leaving -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", REASONS[:3])
def test_who_leaves_says_why_and_waits_until_all_have_heard(reason: Reason, clock: SimpleNamespace) -> None:
    """Who is done has the time of a wait for it, and who is not has three seconds."""
    bob = make()
    waits = Waits(clock, bob._mailbox)
    bob._mailbox.generation = 5
    met = [bob._links[peer] for peer in ("alice", "dave")]
    for link in met:
        link._met = True
    bob.close(reason)
    done = reason == "done"
    assert waits.asked == [
        (link.settled, link.peer, left, () if done else (Exception,))
        for link, left in zip(met, (10.0, 6.0) if done else (3.0, 0.0), strict=True)
    ]
    assert not bob._links["carol"]._kept
    for link in met:
        ((_, frame),) = link._kept
        bye = decode(frame)
        assert (bye.kind, bye.number, bye.generation, REASONS[bye.reason]) == (FrameKind.BYE, 1, 5, reason)
        assert link.traffic.payload_out == 0, "nothing of the model"
    assert bob._closed.is_set()
    bob.close("failed")
    assert len(waits.asked) == 2, "nobody leaves twice"


@pytest.mark.parametrize("reason", ["done", "failed"])
def test_who_is_done_is_told_where_a_peer_did_not_hear_it(reason: Reason, clock: SimpleNamespace) -> None:
    bob = make()
    Waits(clock, bob._mailbox, False)
    bob._links["alice"]._met = True
    if reason == "done":
        with pytest.raises(Failure, match="'alice' did not send that it received the last messages") as late:
            bob.close(reason)
        assert "within 10.0 s (waiting since 12:00:00; link: not connected yet)" in late.value.message
    else:
        bob.close(reason)
    assert bob._closed.is_set()


@pytest.mark.parametrize(
    ("why", "closed"),
    [(Restarted("alice"), False), (Failure("VFL0645", "it"), True), (KeyboardInterrupt(), True)],
)
def test_what_ends_a_farewell(why: BaseException, closed: bool, clock: SimpleNamespace) -> None:
    """Where a peer began again there is more to do, and the links are still there."""
    bob = make()
    Waits(clock, bob._mailbox, why)
    bob._links["alice"]._met = True
    with pytest.raises(type(why)):
        bob.close()
    assert bob._closed.is_set() is closed


@pytest.mark.parametrize("alive", [True, False])
def test_all_ends_with_the_place(alive: bool, clock: SimpleNamespace) -> None:
    """Threads that were never started are not waited for."""
    bob, ended = make(), list[object]()
    thread = SimpleNamespace(is_alive=lambda: alive, join=lambda seconds: ended.append("dialled"))
    bob._dialers = [SimpleNamespace(stop=lambda: ended.append("dialling"), thread=thread)]
    bob._listener = SimpleNamespace(stop=lambda: ended.append("listening"))
    bob.close("failed")
    assert ended == ["dialling", "listening", *(["dialled"] if alive else [])]
    assert all(link.state.endswith("(closed)") for link in bob._links.values())


# --- sending -------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [True, False])
def test_who_has_no_room_is_waited_for(room: bool, clock: SimpleNamespace) -> None:
    bob = make()
    link, waits = bob._links["alice"], Waits(clock, bob._mailbox)
    link._window_out = 100 if room else 0
    bob.tell("alice", "word", b"word")
    assert waits.asked == ([] if room else [(link.open_for_more, "alice", 10.0)])
    assert len(link._kept) == 1
    waits.outcome, link._window_out = False, 0
    with pytest.raises(
        Failure, match=r"'alice' did not send that it took what was sent within 10.0 s"
    ) as late:
        bob.send("alice", wiring.envelope("bob", "alice", 1))
    assert late.value.message.endswith("(waiting since 12:00:00; link: not connected yet)")
    bob._mailbox.fail(Failure("VFL0645", "it"))
    with pytest.raises(Failure, match="VFL0645"):
        bob.tell("alice", "word", b"word")
    assert len(link._kept) == 1


def test_what_waits_for_room_is_not_sent_to_another_process(clock: SimpleNamespace) -> None:
    bob = make()
    link, waits = bob._links["alice"], Waits(clock, bob._mailbox)
    link._window_out, waits.meanwhile = 0, link._begin
    bob.tell("alice", "word", b"to the one before")
    bob.send("alice", wiring.envelope("bob", "alice", 1))
    assert not link._kept and link.traffic.payload_out == 0


# --- once a second -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout", "pause", "silence"), [(60.0, 1.0, 10.0), (12.0, 1.0, 6.0), (3.0, 0.3, 1.5)]
)
@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("late", [True, False])
def test_a_stream_on_which_nothing_is_heard_is_ended(
    timeout: float, pause: float, silence: float, connected: bool, late: bool, clock: SimpleNamespace
) -> None:
    """Also one that takes too long to begin; alice is dialled, carol and dave dial."""
    bob, cuts, pauses = make(timeout=timeout), list[str](), list[float]()
    links = bob._links
    bob._dialers = [SimpleNamespace(link=links["alice"], late=lambda: late, cut=lambda: cuts.append("alice"))]

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) == 3

    bob._closed.wait = wait
    for heard, link in zip((silence, silence, silence / 2), links.values(), strict=True):
        link._attached, link.heard = connected, clock.now - heard
    bob._beat()
    assert pauses == pytest.approx([pause] * 3) and all(link._owes for link in links.values())
    assert cuts == ["alice"] * (2 * late) and all(link.connected is connected for link in links.values())
    pauses.clear()
    clock.now += 0.001
    bob._beat()
    assert [link.connected for link in links.values()] == [False, False, connected]
    assert cuts == ["alice"] * (4 if late else int(connected))
    if connected:
        assert links["carol"].state.endswith(f"(nothing heard for {silence:g} s)")


@pytest.mark.parametrize(
    ("own", "theirs", "whose"),
    [
        (None, math.inf, None), (99.0, math.inf, "'bob'"), (100.0, 100.0, None), (101.0, 99.0, "'carol'"),
        (None, 99.0, "'carol'"), (99.0, 99.0, "'bob'"), (99.0, 98.0, "'carol'"), (98.0, 99.0, "'bob'"),
    ],
)  # fmt: skip
def test_a_link_ends_with_the_first_certificate(
    own: float | None, theirs: float, whose: str | None, clock: SimpleNamespace
) -> None:
    bob = make()
    link = bob._links["carol"]
    bob._expires = math.inf if own is None else own
    link.expires = theirs
    bob._check_dates("carol", link)
    assert (decode(link._last_word).reason == REASONS.index("expired")) if whose else not link._last_word
    if whose is None:
        bob._mailbox.check()
        return
    with pytest.raises(
        Failure, match=f"the link to 'carol' has ended: the certificate of {whose} has"
    ) as over:
        bob._mailbox.check()
    assert (over.value.code, over.value.exit_code) == ("VFL0644", PEER)


def test_whose_certificate_ends_soon_is_said(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    bob, said = make(), list[object]()
    monkeypatch.setattr(linked, "expires_soon", lambda whose, at: f"{whose} {at:g}" if at < 200 else None)
    bob.report_to(said.append)
    for peer, at in (("alice", 150.0), ("carol", 250.0)):
        bob._links[peer].expires = at
    bob._warn_of_dates()
    assert said == ["alice 150"], "dave's has no end that is known"
    bob._expires = 120.0
    bob._warn_of_dates()
    assert said[1:] == ["bob 120", "alice 150"]
