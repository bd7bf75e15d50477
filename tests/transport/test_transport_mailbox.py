"""What a place has received and learned, and what the rules let in, without a network."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from ssl import SSLEOFError
from types import SimpleNamespace

import numpy as np
import pytest
import wiring
from fuzz_frames import ROWS, manifest
from vflc_runtime.bundle.manifest import ControlMessage
from vflc_runtime.errors import Failure
from vflc_runtime.transport import ends, mailbox, rules, tls
from vflc_runtime.transport.descriptors import allowed_connections
from vflc_runtime.transport.frames import BadFrame, Frame, FrameKind, Tensor, decode, encode
from vflc_runtime.transport.grpc import streams
from vflc_runtime.transport.mailbox import Mailbox
from vflc_runtime.transport.messages import Envelope
from vflc_runtime.transport.network import Ended, Restarted
from vflc_runtime.transport.rules import MessageRules


def test_a_word_of_the_same_generation_brings_nobody_back() -> None:
    box = Mailbox(("bob",), 5.0)
    box.ended("bob", "failed")
    box.announce("bob", 1)
    with pytest.raises(Ended):
        box.check()
    box.announce("bob", 2)
    with pytest.raises(Restarted):
        box.check()


def test_a_new_process_has_not_left_and_has_said_nothing() -> None:
    box = Mailbox(("bob",), 5.0)
    box.deliver(("bob", "control", "word"), 1, b"of the first")
    box.ended("bob", "failed")
    box.restarted("bob")
    with pytest.raises(Restarted):
        box.check()
    box.adopt()
    assert box.senders("control", "word") == ()


def test_what_was_waited_is_counted_for_who_was_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    box, now = Mailbox(("alice", "bob"), 5.0), 1000.0

    def slept(until: float) -> bool:
        nonlocal now
        now += 1.5
        return True

    monkeypatch.setattr(mailbox, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(box, "_sleep", slept)
    for count in (2, 4):
        until = now + 1.5 * count
        assert box.until(lambda until=until: now >= until, "bob", 60.0)
    assert box.waited == {"alice": 0.0, "bob": 1.5 * 6}


def test_the_first_failure_is_the_one_to_tell() -> None:
    box = Mailbox(("bob",), 5.0)
    box.fail(Failure("VFL0645", "the cause"))
    box.fail(Failure("VFL0641", "what came of it"))
    with pytest.raises(Failure, match="the cause"):
        box.check()


def message(*tensors: Tensor, index: int = 0) -> Frame:
    size = sum(tensor.nbytes for tensor in tensors)
    return decode(
        encode(
            Frame(FrameKind.MESSAGE, number=1, generation=1, index=index, step=1, tensors=tensors),
            [bytes(size)],
        )
    )


@pytest.mark.parametrize(("rows", "taken"), [(2, True), (1, False), (3, False)])
def test_all_edges_of_a_message_have_as_many_rows(rows: int, taken: bool) -> None:
    frame = message(Tensor(0, 0, (2, 4)), Tensor(1, 4, (rows,)), Tensor(2, 1, ()))
    bob = MessageRules(manifest(), "bob", ROWS)
    if taken:
        assert set(bob.envelope("alice", frame).tensors) == {"a", "c", "d"}
        return
    with pytest.raises(BadFrame, match="edge 'c' of shape"):
        bob.envelope("alice", frame)


def test_tensors_are_views_but_where_they_lie_at_an_odd_address() -> None:
    frame = message(Tensor(0, 0, (3, 4)), Tensor(1, 4, (3,)), Tensor(2, 1, ()))
    found = MessageRules(manifest(), "bob", ROWS).envelope("alice", frame).tensors
    payload = np.frombuffer(frame.payload, np.uint8)
    assert [np.shares_memory(found[name], payload) for name in "acd"] == [True, True, False]
    assert all(each.flags.aligned and not each.flags.writeable for each in found.values())


@pytest.mark.parametrize(("rows", "taken"), [(4, True), (5, False)])
def test_where_only_the_data_knows_a_size_there_is_a_bound(
    rows: int, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "OPEN", 64)
    bob = MessageRules(manifest(), "bob", ROWS)
    frame = message(Tensor(0, 3, (rows, 2)), Tensor(1, 2, (3,)), index=1)
    if taken:
        assert bob.envelope("alice", frame).tensors["b"].shape == (4, 2)
        return
    with pytest.raises(BadFrame, match="declared are at most"):
        bob.envelope("alice", frame)


def test_a_window_has_room_for_two_of_the_largest_words() -> None:
    large = 10 << 20
    declared = replace(
        wiring.manifest(("alice", "bob")), controls=(ControlMessage("word", "alice", "bob", large),)
    )
    assert MessageRules(declared, "bob", ROWS).window("alice", incoming=True) == 2 * large
    assert MessageRules(declared, "alice", ROWS).window("bob", incoming=False) == 2 * large


def test_a_message_is_sent_in_its_own_programs_alone() -> None:
    tensors = {"a": np.zeros((2, 4), np.float32), "c": np.zeros(2, bool), "d": np.zeros((), np.float64)}
    alice = MessageRules(manifest(), "alice", ROWS)
    envelope = Envelope("one", "alice", "forward", "train", 1, tensors)
    assert decode(alice.message("bob", envelope, 1, 1)).tensors
    with pytest.raises(Failure, match="message 'one' of 'predict'"):
        alice.message("bob", replace(envelope, program="predict"), 1, 1)
    for other in ({"a": tensors["a"]}, {**tensors, "b": tensors["a"]}):
        with pytest.raises(Failure, match="message 'one' with other edges"):
            alice.message("bob", replace(envelope, tensors=other), 1, 1)
    for wrong in (tensors["a"][:, :3], tensors["a"].astype(np.float64), np.zeros((ROWS + 1, 4), np.float32)):
        with pytest.raises(Failure, match="edge 'a' as float"):
            alice.message("bob", replace(envelope, tensors={**tensors, "a": wrong}), 1, 1)


def test_of_two_that_listen_the_second_dials_first() -> None:
    networks = wiring.grpc("alice", "bob")
    with wiring.closing(*networks.values()):
        for place, peer in (("alice", "bob"), ("bob", "alice")):
            networks[place]._dial(peer)
        assert networks["bob"]._dialers[0]._delay == 0 < networks["alice"]._dialers[0]._delay


def test_a_peer_that_may_dial_has_its_time_to_do_so_since_it_was_last_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    networks = wiring.grpc("alice", "bob")
    with wiring.closing(*networks.values()):
        networks["alice"]._dial("bob")
        (dialer,) = networks["alice"]._dialers
        beats, link = 0, dialer.link

        def beat(seconds: float) -> None:
            nonlocal beats
            beats += 1
            link._attached = beats == 3

        clock = SimpleNamespace(monotonic=lambda: dialer._delay * beats / 4)
        monkeypatch.setattr(ends, "time", clock)
        monkeypatch.setattr(dialer._stopped, "wait", beat)
        assert dialer._left_to_dial() and beats == 3 + 4
        dialer._stopped.set()
        assert not dialer._left_to_dial()


def test_who_is_not_answered_dials_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    bob = wiring.dialling("127.0.0.1:1")
    bob._dial("alice")
    (dialer,) = bob._dialers
    answered, pauses = [False] * 7 + [True, False], list[float]()
    monkeypatch.setattr(dialer, "_left_to_dial", lambda: bool(answered))
    monkeypatch.setattr(dialer, "_probe", lambda: None)
    monkeypatch.setattr(dialer, "_stream", lambda: (answered.pop(0), None))
    monkeypatch.setattr(dialer._stopped, "wait", pauses.append)
    dialer._run()
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 0.05, 0.1], "from anew once there was a stream"


def test_who_was_refused_is_said_where_nobody_else_came() -> None:
    alice = wiring.listening()
    with wiring.closing(alice):
        alice.bind()
        assert alice._listener is not None
        assert "refused" not in alice._unreached("bob", 1.0).message
        alice._listener.refused.extend(["'mallory'", "nobody"])
        assert alice._unreached("bob", 1.0).message.endswith("; refused: 'mallory', nobody")


COMMON = ((("organizationName", "Hospital"),), (("commonName", "bob"),))


@pytest.mark.parametrize(
    ("alternative", "common", "names"),
    [
        (
            (("DNS", "alice"), ("IP Address", "127.0.0.1"), ("DNS", "a.example")),
            COMMON,
            ["alice", "a.example"],
        ),
        ((), COMMON, ["bob"]),
        ((("IP Address", "127.0.0.1"),), COMMON, ["bob"]),
        ((), (), []),
    ],
)
def test_the_common_name_counts_where_there_is_no_other(
    alternative: tuple, common: tuple, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At both ends: what who dials is shown, and what the listener is."""
    shown = {"subjectAltName": alternative, "subject": common}
    assert tls.names_shown(SimpleNamespace(getpeercert=lambda: shown)) == names
    monkeypatch.setattr(streams, "expiry", lambda pem: 7.0)
    asked = {"x509_pem_cert": [b""], "x509_common_name": [value.encode() for ((_, value),) in common[1:]]}
    if dns := [value.encode() for kind, value in alternative if kind == "DNS"]:
        asked["x509_subject_alternative_name"] = dns

    def abort(code: int, why: str) -> None:
        raise PermissionError(why)

    context = SimpleNamespace(auth_context=lambda: asked, abort=abort)
    links = {name: SimpleNamespace(expires=9.0) for name in names[:1]}
    listener = SimpleNamespace(
        _own="files", _links=links or {"bob": None}, _place="carol", refused=[],
        _grpc=SimpleNamespace(StatusCode=SimpleNamespace(PERMISSION_DENIED=7)),
    )  # fmt: skip
    if names:
        assert streams.StreamServer._who(listener, context) is links[names[0]]
        assert links[names[0]].expires == 7.0 and not listener.refused
    else:
        with pytest.raises(PermissionError, match="carol expects other parties to dial"):
            streams.StreamServer._who(listener, context)
        assert listener.refused[0].startswith("nobody at")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"\0", True),
        (b"", False),
        (TimeoutError(), True),
        (ConnectionResetError(), False),
        (SSLEOFError(), False),
    ],
)
def test_a_server_that_keeps_the_line_has_accepted_the_certificate(
    answer: bytes | Exception, says: bool
) -> None:
    def recv(count: int) -> bytes:
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert tls._says_something(SimpleNamespace(recv=recv)) is says


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ("a word\n of  gRPC", "a word of gRPC"),
        ("", "UNAVAILABLE"),
        (None, "UNAVAILABLE"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "…"),
    ],
)
def test_why_a_stream_broke_is_said_on_one_line(details: str | None, said: str) -> None:
    error = SimpleNamespace(details=lambda: details, code=lambda: SimpleNamespace(name="UNAVAILABLE"))
    assert streams._reason(error) == said


@pytest.mark.parametrize(
    ("limits", "raised_to", "connections"),
    [
        ((1024, 4096), (4096, 4096), 1000),
        ((256, 512), (512, 512), 256),
        ((256, 256), None, 128),
        ((1024, -1), (1 << 16, -1), 1000),
        ((-1, -1), None, 1000),
        (None, None, 1000),
    ],
)
def test_connections_leave_half_of_the_descriptors(
    limits: tuple[int, int] | None,
    raised_to: tuple[int, int] | None,
    connections: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of those that the hard limit allows; -1 is no limit, and some systems have no such module."""
    raised = []
    resource = SimpleNamespace(
        RLIM_INFINITY=-1,
        RLIMIT_NOFILE=7,
        getrlimit=lambda kind: limits,
        setrlimit=lambda kind, to: raised.append(to),
    )
    monkeypatch.setitem(sys.modules, "resource", resource if limits else None)
    assert allowed_connections() == connections
    assert raised == ([raised_to] if raised_to else [])


def test_a_certificate_of_tomorrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Earlier(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(2001, 1, 1, tzinfo=UTC)

    made = wiring.certificates(tmp_path, "bob")["bob"]
    monkeypatch.setattr(tls, "datetime", Earlier)
    with pytest.raises(Failure, match="is not valid before"):
        tls.identity(made, "bob")
