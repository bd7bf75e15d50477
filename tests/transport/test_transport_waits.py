"""Waits by a clock that the test sets, words of many generations, two links that are cut at any moment."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
import wiring
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_runtime import events
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.transport import mailbox, refusing
from vflc_runtime.transport.frames import (
    BadFrame,
    Frame,
    FrameKind,
    decode,
    encode,
)
from vflc_runtime.transport.link import Link
from vflc_runtime.transport.mailbox import Mailbox
from vflc_runtime.transport.network import Ended, Restarted
from vflc_runtime.transport.rules import MessageRules

WORD = ("bob", "control", "word")


class Clock:
    """Time that passes only where a mailbox sleeps; `rings` are when somebody wakes it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, box: Mailbox, rings: list[float]) -> None:
        self.now, self.rings = 0.0, deque(rings)
        fake = SimpleNamespace(monotonic=lambda: self.now, strftime=lambda form: "12:00:00")
        monkeypatch.setattr(mailbox, "time", fake)
        monkeypatch.setattr(box, "_sleep", self.sleep)

    def sleep(self, until: float) -> bool:
        rung = bool(self.rings) and self.rings[0] < until
        self.now = max(self.now, self.rings.popleft() if rung else until)
        return rung


@pytest.mark.parametrize("rings", [[], [1.0, 2.0, 30.0]])
@pytest.mark.parametrize(
    ("timeout", "own", "heard", "ends", "told"),
    [
        (None, 5.0, lambda now: now, 5.0, []),
        (60.0, 5.0, lambda now: now, 60.0, [10.0, 20.0, 40.0]),
        (60.0, 25.0, lambda now: 0.0, 25.0, [10.0, 20.0]),
        (60.0, 5.0, lambda now: min(now, 18.0), 23.0, [10.0, 20.0]),
        (3.0, 5.0, lambda now: 0.0, 3.0, []),
        (60.0, 5.0, lambda now: -100.0, 5.0, []),
    ],
)
def test_how_long_a_peer_is_waited_for(
    timeout: float | None,
    own: float,
    heard: Any,
    ends: float,
    told: list[float],
    rings: list[float],
    monkeypatch: Any,
) -> None:
    """As long as is asked for, while it is heard of; and told of at 10 seconds and at every twice."""
    box = Mailbox(("bob", "carol"), own, lambda peer: f"as that of {peer}", lambda peer: heard(clock.now))
    clock, said = Clock(monkeypatch, box, [ring for ring in rings if ring < ends]), list[events.Event]()
    box.listen = said.append
    with pytest.raises(Failure, match=rf"'bob' did not send control 'word' within {ends:.1f} s") as late:
        box.wait(WORD, timeout)
    assert late.value.message.endswith("(waiting since 12:00:00; link: as that of bob)")
    assert (late.value.code, late.value.exit_code, clock.now) == ("VFL0641", PEER, ends)
    assert box.waited == {"bob": ends, "carol": 0.0}
    if not rings:
        limit = own if timeout is None else timeout
        assert said == [events.Waiting("bob", "control 'word'", at, limit) for at in told]


@pytest.mark.parametrize(
    ("ready", "timeout", "found"), [(3.0, 5.0, True), (7.0, 5.0, False), (0.0, 0.0, True), (1.0, 0.0, False)]
)
def test_what_others_make_true_is_waited_for(
    ready: float, timeout: float, found: bool, monkeypatch: Any
) -> None:
    box = Mailbox(("bob",), 5.0)
    clock = Clock(monkeypatch, box, [1.0, 2.0, 3.0][: 3 if timeout else 0])
    assert box.until(lambda: clock.now >= ready, "bob", timeout) is found
    assert clock.now == box.waited["bob"] == (ready if found else timeout)


def test_waits_of_others_are_told_where_they_have_a_name(monkeypatch: Any) -> None:
    for what, told in ((None, []), ("a link", [10.0, 20.0, 40.0])):
        box, said = Mailbox(("bob",), 5.0), list[events.Event]()
        box.listen = said.append
        Clock(monkeypatch, box, [])
        assert not box.until(lambda: False, "bob", 50.0, what=what)
        assert said == [events.Waiting("bob", "a link", at, 50.0) for at in told]


def test_what_is_ignored_does_not_end_a_wait(monkeypatch: Any) -> None:
    box = Mailbox(("bob",), 5.0)
    Clock(monkeypatch, box, [])
    box.restarted("bob")
    assert not box.until(lambda: False, "bob", 1.0, (Restarted,))
    with pytest.raises(Restarted):
        box.until(lambda: False, "bob", 1.0, (Ended,))
    assert box.until(lambda: True, "bob", 1.0), "what is ready needs no waiting"


def test_sleep_ends_with_a_ring_or_in_time() -> None:
    box = Mailbox(("bob",), 5.0)
    assert not box._sleep(mailbox.time.monotonic() - 1)
    assert not box._sleep(mailbox.time.monotonic() + 0.01)
    box._waiting = True
    box.notify()
    box.notify()  # nobody waits any more
    assert box._sleep(mailbox.time.monotonic() + 60) and box._wake_up.empty()


# --- generations ---------------------------------------------------------------------------------------

PEERS = ("alice", "bob", "carol")
STEPS = st.one_of(
    st.tuples(st.just("announce"), st.sampled_from(PEERS), st.integers(1, 5)),
    st.tuples(
        st.just("deliver"), st.sampled_from(PEERS), st.integers(1, 5), st.sampled_from(["a", "word", "z"])
    ),
    st.tuples(st.just("restarted"), st.sampled_from(PEERS)),
    st.tuples(st.just("ended"), st.sampled_from(PEERS), st.sampled_from(["done", "failed"])),
    st.tuples(st.just("renew")),
    st.tuples(st.just("adopt")),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_words_of_generations(steps: list[tuple[Any, ...]]) -> None:
    """Against a list of all that came: what is heard is of this generation, of this process, and in order."""
    box, number, dropped, generation = Mailbox(PEERS, 5.0), 0, list[int](), 1
    kept: list[tuple[str, int, str, int]] = []
    generations, gone, again, lost = dict.fromkeys(PEERS, 1), dict[str, str](), None, set[int]()

    def hear_of(peer: str, of: int) -> None:
        nonlocal again
        if of > generations[peer]:
            generations[peer] = of
            gone.pop(peer, None)
        if generations[peer] > generation and again is None:
            again = peer

    for do, *rest in steps:
        if do == "announce":
            box.announce(*rest)
            hear_of(*rest)
        elif do == "deliver":
            peer, of, kind = rest
            number += 1
            box.deliver((peer, "control", kind), of, number, lambda n=number: dropped.append(n))
            hear_of(peer, of)
            if of < generation:
                lost.add(number)
            else:
                kept.append((peer, of, kind, number))
        elif do == "restarted":
            box.restarted(*rest)
            kept = [each for each in kept if each[0] != rest[0]]
            generations[rest[0]], again = 1, rest[0]
            gone.pop(rest[0], None)
        elif do == "ended":
            box.ended(*rest)
            gone[rest[0]] = rest[1]
        else:
            generation = max(generation + (do == "renew"), *generations.values())
            assert box.renew() == generation if do == "renew" else box.adopt() is None
            again = None
            # one that comes after a later one of its name waits behind it
            boxes: dict[tuple[str, str], list[Any]] = {}
            for each in kept:
                boxes.setdefault((each[0], each[2]), []).append(each)
            for each in boxes.values():
                while each and each[0][1] < generation:
                    lost.add(each.pop(0)[3])
            kept = [each for each in kept if each[3] not in lost]
        assert box.generation == generation and set(dropped) == lost and len(dropped) == len(lost)
    failed = next((peer for peer, reason in gone.items() if reason != "done"), None)
    if failed is not None or again is not None:
        with pytest.raises(Restarted if failed is None else Ended) as caught:
            box.check()
        assert caught.value.peer == (failed or again)
        return
    box.check()
    for peer in PEERS:
        for kind in ("a", "word", "z"):
            mine = [each for each in kept if (each[0], each[2]) == (peer, kind)]
            due = bool(mine) and mine[0][1] == generation
            assert (peer in box.senders("control", kind)) == due and box.senders("message", kind) == ()
            if due:
                assert box.wait((peer, "control", kind)) == mine[0][3] == dropped[-1]
            elif peer in gone:
                with pytest.raises(Ended):
                    box.wait((peer, "control", kind))


def test_a_failure_is_raised_by_all(monkeypatch: Any) -> None:
    box = Mailbox(("bob",), 5.0)
    box.deliver(WORD, 1, b"word")
    box.fail(Failure("VFL0645", "it"))
    for call in (box.check, box.renew, lambda: box.senders("control", "word"), lambda: box.wait(WORD)):
        with pytest.raises(Failure, match="it"):
            call()


# --- two links -----------------------------------------------------------------------------------------

ACTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["push", "write", "beat", "take"]), st.integers(0, 1), st.integers(1, 6)),
        st.tuples(st.just("cut"), st.integers(0, 1), st.booleans()),
    ),
    max_size=60,
)


class Pair:
    """alice's and bob's links to each other, and what each wrote that the other has not heard yet."""

    def __init__(self) -> None:
        places = ("alice", "bob")
        self.boxes = [Mailbox((peer,), 5.0) for peer in reversed(places)]
        rules = [MessageRules(wiring.manifest(places), place, wiring.ROWS) for place in places]
        self.ends = [
            Link(peer, bytes([index]) * 16, rules[index], self.boxes[index])
            for index, peer in enumerate(reversed(places))
        ]
        self.meet()

    def meet(self) -> None:
        """A new stream; hellos cross."""
        made = [end.attach() for end in self.ends]
        self.streams = [stream for stream, _ in made]
        for index, end in enumerate(self.ends):
            end.arrived(self.streams[index], made[1 - index][1])

    def write(self, index: int) -> bool:
        """The next frame of one end reaches the other."""
        frame = self.ends[index]._to_write(self.streams[index])
        if frame is not None:
            self.ends[1 - index].arrived(self.streams[1 - index], frame)
        return frame is not None


@settings(max_examples=80, deadline=None)
@given(ACTS)
def test_two_links_lose_nothing(acts: list[tuple[str, int, Any]]) -> None:
    """However often they are cut, with frames on their way or not: each word arrives once, in order."""
    pair, sent, heard = Pair(), ([], []), ([], [])  # type: ignore[var-annotated]
    size = [0, 0]

    def take(index: int) -> bool:
        if not pair.boxes[index].senders("control", "word"):
            return False
        heard[index].append(pair.boxes[index].wait((pair.ends[index].peer, "control", "word")))
        return True

    for act, index, more in acts:
        end = pair.ends[index]
        if act == "push":
            word = len(sent[index]).to_bytes(more, "big")
            place = ("alice", "bob")[index]

            def make(number: int, word: bytes = word, place: str = place, end: Link = end) -> bytes:
                return end._rules.control(("bob", "alice")[place == "bob"], "word", word, number, 1)

            frame = make(len(sent[index]) + 1)
            end.push(make, len(word))
            sent[index].append(word)
            size[index] += len(frame)
        elif act == "write":
            for _ in range(more):
                pair.write(index)
        elif act == "beat":
            end.beat()
        elif act == "take":
            for _ in range(more):
                take(index)
        else:
            if more:  # a frame is written and lost
                end._to_write(pair.streams[index])
            for each, stream in zip(pair.ends, pair.streams, strict=True):
                each.detach(stream, "test")
                assert not each.connected and each.state.endswith("(test)")
            pair.meet()
        assert all(each.connected for each in pair.ends)
    while any([pair.write(0), pair.write(1), take(0), take(1)]):
        pass
    for end in pair.ends:
        end.beat()
    while any([pair.write(0), pair.write(1)]):
        pass
    assert heard == (sent[1], sent[0])
    for index, end in enumerate(pair.ends):
        assert end.settled() and not end._kept and end.open_for_more()
        assert end._pushed == end._done == size[index] and end._taken == end._arrived == size[1 - index]
        traffic = end.traffic
        assert traffic.payload_out == sum(map(len, sent[index])) == pair.ends[1 - index].traffic.payload_in
        assert traffic.wire_out >= size[index] and traffic.wire_in <= pair.ends[1 - index].traffic.wire_out


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["come", "take", "write"]), max_size=40), st.integers(2, 9))
def test_receipts_are_owed_after_a_quarter_of_a_window(acts: list[str], window: int) -> None:
    """Of what came, or of what was taken, since the last one said how much was."""
    pair = Pair()
    alice, box, bob = pair.ends[0], pair.boxes[0], pair.ends[1]
    frame = len(bob._rules.control("alice", "word", b"word", 1, 1))
    alice._window_in = window * frame
    assert alice._to_write(pair.streams[0]) is None
    came = took = told = 0
    owed = False
    for act in acts:
        if act == "come" and came - took < 2 * window:
            bob.push(lambda number: bob._rules.control("alice", "word", b"word", number, 1))
            pair.write(1)
            came += 1
            owed = owed or (came - told) * frame > window * frame // 4
        elif act == "take" and took < came:
            box.wait(WORD)
            took += 1
            owed = owed or (took - told) * frame > window * frame // 4
        elif act == "write":
            said = alice._to_write(pair.streams[0])
            assert (said is not None) == owed
            if said is not None:
                receipt = decode(said)
                assert (receipt.kind, receipt.received, receipt.taken) == (
                    FrameKind.RECEIPT,
                    came,
                    took * frame,
                )
                told, owed = took, False


@pytest.mark.parametrize(("left", "open_"), [(-1, False), (0, False), (1, True)])
def test_a_window_is_open_as_long_as_something_fits(left: int, open_: bool) -> None:
    pair = Pair()
    alice = pair.ends[0]
    alice.push(lambda number: bytes(100))
    alice._window_out = 100 + left
    assert alice.open_for_more() is open_


def test_what_was_meant_for_another_process_is_not_sent() -> None:
    pair = Pair()
    alice = pair.ends[0]
    for session, count in ((alice.session, 1), (None, 2), (alice.session - 1, 2), (alice.session + 1, 2)):
        alice.push(lambda number: b"x", 3, session)
        assert alice._number == count and alice.traffic.payload_out == 3 * count


@pytest.mark.parametrize("reason", range(7))
def test_reasons_of_byes_and_of_refusals(reason: int) -> None:
    """The first three are for byes; `taken` turns a process away and ends nothing."""
    for kind, fits in ((FrameKind.BYE, reason < 3), (FrameKind.REFUSAL, 3 <= reason < 6)):
        pair = Pair()
        bob = pair.ends[1]
        frame = Frame(
            kind, reason=reason, **({"number": 1, "generation": 1} if kind == FrameKind.BYE else {})
        )
        if not fits:
            with pytest.raises(BadFrame, match=f"for reason {reason}"):
                bob.arrived(pair.streams[1], encode(frame))
            continue
        bob.arrived(pair.streams[1], encode(frame))
        turned = kind == FrameKind.REFUSAL and reason == 4
        assert bob.ended is not turned and (bob.taken is not None) == turned
        assert turned == ("another process runs as 'bob'" in bob.state)
        if reason:
            with pytest.raises(Ended) if not turned else pytest.raises(AssertionError):
                pair.boxes[1].check()
                assert not turned


def test_failures_name_both_ends() -> None:
    found = [refusing.refused("alice", "bob", BadFrame("why")), refusing.taken("alice", "bob")]
    assert [(each.code, each.exit_code) for each in found] == [("VFL0645", PEER), ("VFL0657", PEER)]
    assert found[0].message == "'alice' refused a frame of 'bob': why"
    assert found[1].message.startswith("another process runs as 'alice': 'bob' is connected to that one")
