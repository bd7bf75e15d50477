"""What alignments are made of, by itself: messages of many sizes, the time, who computes how much at once."""

import threading
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vflc_common.control import ALIGN_COUNT, POINT, Control
from vflc_runtime.alignment import exchange, hub, points
from vflc_runtime.alignment.exchange import Clock, PeerExchange
from vflc_runtime.alignment.handshake import Handshake
from vflc_runtime.alignment.kept import _possible
from vflc_runtime.alignment.keys import SortedKeys
from vflc_runtime.alignment.points import PointThreads
from vflc_runtime.alignment.settings import AlignSettings, check_settings
from vflc_runtime.errors import PEER, Failure


class Wire:
    """A connection that says back what it was told, and notes how much was asked for."""

    def __init__(self, *said):
        self.said, self.told, self.limits, self.waits = list(said), [], [], []

    def tell(self, receiver, kind, payload):
        self.told.append(payload)

    def hear(self, sender, kind, limit, timeout=None):
        self.limits.append(limit)
        self.waits.append(timeout)
        payload = (self.said or self.told).pop(0)
        if isinstance(payload, Failure):
            raise payload
        return payload


def link(wire, rows=9, peer="bob"):
    return PeerExchange(peer, rows, wire, Clock(60))


@given(st.binary(max_size=40), st.integers(1, 9))
def test_what_is_told_in_messages_is_heard_in_as_many(items, size):
    wire, kind = Wire(), Control("align.some", size, "", "")
    link(wire).tell_all(kind, items)
    assert [len(each) for each in wire.told[:-1]] == [size] * (len(wire.told) - 1)
    assert all(wire.told) and len(wire.told) == -(-len(items) // size)
    assert b"".join(link(wire).hear_all(kind, len(items))) == items
    assert sum(wire.limits) == len(items) and not wire.told


@pytest.mark.parametrize("number", [0, 3, 4])
def test_a_number_up_to_the_most(number):
    wire = Wire()
    link(wire).tell_number(ALIGN_COUNT, number)
    assert [len(each) for each in wire.told] == [8]
    if number <= 3:
        assert link(wire).hear_number(ALIGN_COUNT, 3) == number
        return
    with pytest.raises(Failure, match=r"align\.count is 4, which is more than 3"):
        link(wire).hear_number(ALIGN_COUNT, 3)


@pytest.mark.parametrize("size", [0, 7, 9])
def test_a_message_of_another_size(size):
    with pytest.raises(Failure, match=f"has {size} bytes instead of 8") as refused:
        link(Wire(bytes(size))).hear(ALIGN_COUNT, 8)
    assert (refused.value.code, refused.value.exit_code) == ("VFL0662", PEER)


@pytest.mark.parametrize(("passed", "left"), [(0, 5), (4, 1), (5, 0), (6, 0)])
def test_the_time_that_is_left(passed, left, monkeypatch):
    """To the end of it: from then on whoever is waited for is named."""
    now = [100.0]
    monkeypatch.setattr(exchange.time, "monotonic", lambda: now[0])
    clock, late = Clock(5), Failure("VFL0641", "nothing came")
    now[0] += passed
    if left:
        assert clock.left("bob") == left
        wire = Wire(late)
        with pytest.raises(Failure, match="nothing came"):
            PeerExchange("bob", 1, wire, clock).hear(ALIGN_COUNT, 8)
        assert wire.waits == [left]
        return
    with pytest.raises(Failure, match="has taken longer than 5 s, and bob has not finished") as refused:
        clock.left("bob")
    assert (refused.value.code, refused.value.exit_code) == ("VFL0668", PEER)


@pytest.mark.parametrize(("code", "told"), [("VFL0641", "VFL0668"), ("VFL0643", "VFL0643")])
def test_who_waited_until_the_end_says_so(code, told, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(exchange.time, "monotonic", lambda: now[0])
    clock = Clock(5)

    class Late(Wire):
        def hear(self, *_):
            now[0] += 6
            raise Failure(code, "nothing came")

    with pytest.raises(Failure) as refused:
        PeerExchange("bob", 1, Late(), clock).hear(ALIGN_COUNT, 8)
    assert refused.value.code == told


@pytest.mark.parametrize(
    ("positions", "possible"),
    [
        (np.array([0, 2]), True),
        *[(np.array([0, 1], dtype), False) for dtype in ("int8", "int32", "uint64", "float32", "float64")],
        (np.array([["0"]]), False),
        (np.array(0), False),
        (np.array([[0, 1]]), False),
        (np.array([], np.int64), False),
        (np.array([0, 1, 2]), True),
        (np.array([0, 1, 2, 0]), False),
        (np.array([3]), False),
        (np.array([-1]), False),
    ],
)  # fmt: skip
def test_positions_that_are_rows(positions, possible):
    assert _possible(positions, 3) is possible


@pytest.mark.parametrize(("blocks", "behind"), [(1, 4), (3, 4), (4, 4), (5, 4), (9, 4)])
def test_so_many_requests_are_under_way(blocks, behind, monkeypatch):
    monkeypatch.setattr(hub, "ALIGN_REQUEST", Control("align.request", 2 * POINT, "", ""))
    wire, counts = Wire(), []
    asked = bytes(range(POINT)) * (2 * blocks - 1)  # the last is half a message
    heard = []
    for block in hub._answers(link(wire), asked):
        counts.append(len(wire.told) + 1)
        heard.append(block)
    assert b"".join(heard) == asked and len(heard) == blocks
    assert counts == [min(behind + (number + behind < blocks), blocks - number) for number in range(blocks)]


@pytest.mark.parametrize(
    ("count", "threads", "sizes"),
    [
        (40, 1, [12, 12, 12, 4]),  # a quarter of the answers, in whole messages of three
        (40, 2, [6, 6, 6, 6, 6, 6, 4]),  # an eighth of them
        (9, 2, [6, 3]),  # no fewer than six
        (6, 2, [6]),
    ],
)
def test_keys_are_compared_a_few_times_only(count, threads, sizes, monkeypatch):
    """Each comparison reads all of the peer's keys anew, and they are reported as they are done."""
    monkeypatch.setattr(hub, "ALIGN_REQUEST", Control("align.request", 3 * POINT, "", ""))
    monkeypatch.setattr(hub, "POINTS", 5)
    compared, reported = [], []

    def compare(setup, answers, first, peer):
        compared.append(len(answers))
        assert (setup, peer, first) == ("keys", "bob", sum(compared[:-1]))
        return np.arange(first, first + len(answers))

    done = lambda made: SimpleNamespace(result=lambda: made)  # noqa: E731
    pool = SimpleNamespace(threads=threads, submit=lambda work, *given: done(work(*given)))
    private = hub.Private(SortedKeys("a", pa.array(["k"])), pool, reported.append)
    asking = SimpleNamespace(points=bytes(POINT * count), compare=compare)
    found = private._ask(link(Wire()), asking, "keys", count)
    assert found.tolist() == list(range(count)) and compared == sizes
    least = max(5, count // (4 * threads))
    assert [each.done for each in reported] == [min(n * least, count) for n in range(1, len(sizes) + 1)]
    assert {(each.what, each.total) for each in reported} == {("answers of bob", count)}


def test_a_pool_that_ends_begins_nothing_more():
    pytest.importorskip("private_set_intersection.python", reason="needs vflc[psi]")
    gate, begun = threading.Event(), []
    with pytest.raises(KeyError), PointThreads(1) as pool:
        first = pool.submit(gate.wait, 10)
        rest = [pool.submit(begun.append, number) for number in range(3)]
        rest[-1].add_done_callback(lambda _: gate.set())
        raise KeyError
    assert first.done() and all(each.cancelled() for each in rest) and not begun


@pytest.mark.parametrize(("threads", "cores", "used"), [(3, 7, 3), (None, 7, 7)])
def test_as_many_threads_as_are_given(threads, cores, used, monkeypatch):
    monkeypatch.setattr(points, "library", lambda: None)
    monkeypatch.setattr(points, "cores", lambda: cores)
    with PointThreads(threads) as pool:
        assert pool.threads == used == pool._pool._max_workers


@given(st.lists(st.integers(), max_size=40), st.integers(1, 9))
def test_pieces_come_in_their_order(items, size):
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "library", lambda: None)
        patch.setattr(points, "PIECE", size)
        with PointThreads(2) as pool:
            doubled = pool.pieces(
                lambda part: [2 * each for each in part], items, lambda *now: made.append(now)
            )
    assert doubled == [2 * each for each in items]
    ends = [min(end, len(items)) for end in range(size, len(items) + size, size)]
    assert made == [(end, len(items)) for end in ends]


def test_the_fewest_rows_are_compared_first():
    """By name where they are as many; what is left goes to all."""
    asked, wires = [], {name: Wire() for name in ("dora", "bob", "carol")}
    links = {name: link(wires[name], rows, name) for name, rows in (("dora", 3), ("bob", 4), ("carol", 3))}
    handshake = Handshake("alice", links, "alice", bytes(32), False)

    def at_hub(link, ranks):
        asked.append((link.peer, len(ranks)))
        return ranks[1:]

    keys = SortedKeys("alice", pa.array([f"k{n}" for n in range(5)]))
    common = hub.intersect(keys, handshake, SimpleNamespace(at_hub=at_hub))
    assert asked == [("carol", 5), ("dora", 4), ("bob", 3)] and common.tolist() == [3, 4]
    told = [(2).to_bytes(8, "big"), np.sort(keys.hashes(bytes(32), common)).tobytes()]
    assert all(wire.told == told for wire in wires.values())


@pytest.mark.parametrize(
    ("keys", "code", "told"),
    [
        (["a", "", " \t", "\n\f\r", None], "VFL0616", "a has rows without a key: 1"),
        (["a", "", " \t", "\n\f\r"], "VFL0616", "a has rows without a key: 3"),
        (["b", "a", "b", "a", "a"], "VFL0605", "a has the same key in several rows, 3 times"),
    ],
)
def test_keys_that_name_no_row(keys, code, told):
    with pytest.raises(Failure) as refused:
        SortedKeys("a", pa.array(keys))
    assert (refused.value.code, refused.value.message) == (code, told)


def test_settings_that_make_no_sense():
    check_settings("psi", ("a", "b"), AlignSettings(hub="b"))
    check_settings("psi", ("a", "b"), AlignSettings())
    check_settings("hash", ("a", "b"), AlignSettings(key=b""))
    for method, how, code in (
        ("both", AlignSettings(), "VFL0666"),
        ("psi", AlignSettings(hub="c"), "VFL0666"),
        ("hash", AlignSettings(), "VFL0663"),
    ):
        with pytest.raises(Failure) as refused:
            check_settings(method, ("a", "b"), how)
        assert refused.value.code == code
