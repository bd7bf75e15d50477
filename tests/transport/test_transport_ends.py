"""The two ends of a stream, each with a gRPC and a clock that the test sets: who dials and who serves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Event, current_thread
from types import SimpleNamespace
from typing import Any

import pytest
import wiring
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.transport import ends
from vflc_runtime.transport import link as links
from vflc_runtime.transport.frames import Frame, FrameKind, decode, encode
from vflc_runtime.transport.grpc import streams
from vflc_runtime.transport.grpc.streams import Dialer, StreamServer
from vflc_runtime.transport.network import REASONS

HELLO = encode(Frame(FrameKind.HELLO, version=1, generation=1, incarnation=bytes(range(16))))
TAKEN = encode(Frame(FrameKind.REFUSAL, reason=REASONS.index("taken")))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`now` is what the clock says, and `slept` the pauses; nobody really waits."""
    clock = SimpleNamespace(now=100.0, slept=[], strftime=lambda form: "12:00:00")
    clock.monotonic, clock.sleep = lambda: clock.now, clock.slept.append
    monkeypatch.setattr(streams, "time", clock)
    monkeypatch.setattr(ends, "time", clock)
    monkeypatch.setattr(links, "time", clock)
    return clock


@pytest.mark.parametrize("missing", ["grpc", "cryptography"])
def test_what_parties_on_their_own_machines_need(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(Failure, match=f"need '{missing}'") as caught:
        streams.grpc_module()
    assert (caught.value.code, caught.value.help) == ("VFL0647", "pip install 'vflc[grpc]'")


def test_a_frame_has_room_for_the_largest_payload_and_its_header() -> None:
    assert dict(streams.options(1000))["grpc.max_receive_message_length"] == 1000 + (1 << 16)


# --- who dials -----------------------------------------------------------------------------------


class Broken(Exception):
    """As gRPC raises it."""

    def __init__(self, code: str, details: str) -> None:
        self.code, self.details = lambda: code, lambda: details


GRPC = SimpleNamespace(
    RpcError=Broken, StatusCode=SimpleNamespace(PERMISSION_DENIED="denied", RESOURCE_EXHAUSTED="exhausted")
)


class Server:
    """alice, as a channel to her: what she says, and the exception with which the stream then breaks."""

    def __init__(self, *says: bytes | Exception) -> None:
        self.says, self.closed, self.cancelled = says, False, False
        self.metadata: Any = None

    def stream_stream(self, method: str) -> Any:
        assert method == "/vflc.Places/Exchange"
        return self

    def __call__(self, frames: Iterator[bytes], metadata: Any) -> Server:
        self.first, self.metadata = decode(next(frames)), metadata
        return self

    def __iter__(self) -> Iterator[bytes]:
        for each in self.says:
            if isinstance(each, Exception):
                raise each
            yield each

    def cancel(self) -> None:
        self.cancelled = True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def dialer(monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace) -> Dialer:
    """bob's to alice; `_fail` keeps what it is told in `told`."""
    bob = wiring.dialling("127.0.0.1:1")
    bob._dial("alice")
    (made,) = bob._dialers
    made.told = []
    made._fail = made.told.append
    monkeypatch.setattr(streams, "grpc_module", lambda: GRPC)
    return made


@pytest.mark.parametrize(
    ("says", "met", "code", "state"),
    [
        ((HELLO,), True, None, "closed by the peer"),
        ((), False, None, "closed by the peer"),
        ((TAKEN,), False, None, "closed by the peer"),
        ((HELLO, Broken("away", "gone")), True, None, "gone"),
        ((Broken("away", "nobody there"),), False, None, "nobody there"),
        ((Broken("denied", "not you"),), False, "VFL0644", "not you"),
        ((HELLO, Broken("exhausted", "message larger than max")), True, "VFL0645", "message larger than max"),
        ((HELLO, Broken("exhausted", "too many streams")), True, None, "too many streams"),
        ((Broken("away", "larger than max"),), False, None, "larger than max"),
    ],
)
def test_how_a_stream_ends(
    dialer: Dialer, says: tuple, met: bool, code: str | None, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(*says)
    monkeypatch.setattr(dialer, "_channel", lambda grpc: server)
    found, failure = dialer._stream()
    assert (found, failure and (failure.code, failure.exit_code)) == (met, code and (code, PEER))
    assert failure is None or state in failure.message
    assert server.first.kind == FrameKind.HELLO and server.metadata == (("vflc-place", "bob"),)
    assert dialer.link.state == f"down since 12:00:00 ({state})" and not dialer.link.connected
    assert server.closed and dialer._call is None and not dialer.told


def test_who_refuses_a_frame_hears_the_stream_to_its_end(
    dialer: Dialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    monkeypatch.setattr(dialer, "_channel", lambda grpc: Server(HELLO, HELLO, HELLO))
    arrived = dialer.link.arrived
    monkeypatch.setattr(
        dialer.link, "arrived", lambda stream, data: (heard.append(data), arrived(stream, data))
    )
    assert dialer._stream() == (True, None)
    (told,) = dialer.told
    assert told.code == "VFL0645" and "'bob' refused a frame of 'alice'" in told.message
    assert decode(dialer.link._last_word).reason == REASONS.index("refused") and len(heard) == 3


@pytest.mark.parametrize(("passed", "over"), [(14.5, False), (15.0, False), (15.5, True)])
def test_who_is_turned_away_for_longer_than_a_process_that_is_gone(
    dialer: Dialer, clock: SimpleNamespace, passed: float, over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_channel", lambda grpc: Server(TAKEN))
    assert dialer._stream() == (False, None)
    clock.now += passed
    _, failure = dialer._stream()
    assert (failure and failure.code) == ("VFL0657" if over else None)
    monkeypatch.setattr(dialer, "_channel", lambda grpc: Server(HELLO))
    assert dialer._stream() == (True, None), "and then the place is free"


def test_a_stream_is_late_where_it_has_not_begun_in_time(dialer: Dialer, clock: SimpleNamespace) -> None:
    server = Server()
    clock.now = 110.0 + 1
    dialer._begun = 100.0
    assert not dialer.late(), "where there is none"
    dialer._call = server
    assert dialer.late()
    dialer.link._attached = True
    assert not dialer.late()
    dialer.link._attached, clock.now = False, 110.0
    assert not dialer.late()
    dialer.cut()
    assert server.cancelled and not dialer._stopped.is_set()
    dialer.stop()
    assert dialer._stopped.is_set()


DEFECT = ValueError("a defect")


@pytest.mark.parametrize(
    ("streams_", "probes", "told", "ended"),
    [
        ([(False, None), (True, None), (True, None), (False, None)], 2, [], None),
        ([DEFECT, (True, None)], 1, [DEFECT], None),
        ([(True, Failure("VFL0644", "it")), (True, None)], 1, ["VFL0644"], None),
        ([(True, Failure("VFL0645", "it")), (True, None)], 1, ["VFL0645"], "refused"),
    ],
)
def test_what_ends_the_dialling(
    dialer: Dialer,
    streams_: list,
    probes: int,
    told: list,
    ended: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A probe comes before each stream but one after a stream that began; who refuses has one more to say."""
    left, probed = list(streams_), list[None]()

    def stream() -> Any:
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(dialer, "_left_to_dial", lambda: bool(left))
    monkeypatch.setattr(dialer, "_probe", lambda: probed.append(None))
    monkeypatch.setattr(dialer, "_stream", stream)
    monkeypatch.setattr(dialer._stopped, "wait", lambda seconds: False)
    dialer._run()
    assert [getattr(each, "code", each) for each in dialer.told] == told
    assert len(probed) == probes and len(left) == bool(told and not ended)
    said = dialer.link._last_word
    assert (decode(said).reason == REASONS.index(ended)) if ended else not said


def test_what_a_probe_finds_is_told(dialer: Dialer, monkeypatch: pytest.MonkeyPatch) -> None:
    expires = [50.0, 40.0, 60.0]
    monkeypatch.setattr(streams, "probe", lambda *asked: (Failure("VFL0644", str(asked)), expires.pop(0)))
    for least in (50.0, 40.0, 40.0):
        failure = dialer._probe()
        assert failure is not None
        assert failure.message == "('127.0.0.1:1', 'alice', ('bob', 'alice'), None)"
        assert dialer.link.expires == least
    expires.append(0.0)
    dialer._run()
    assert [each.code for each in dialer.told] == ["VFL0644"] and not dialer.link.has_met()


@pytest.mark.parametrize("reason", ["refused", "expired"])
def test_who_has_left_is_not_dialled(dialer: Dialer, reason: str) -> None:
    assert dialer._left_to_dial()
    stream, _ = dialer.link.attach()
    dialer.link.arrived(stream, encode(Frame(FrameKind.REFUSAL, reason=REASONS.index(reason))))
    assert not dialer._left_to_dial()


# --- who serves ----------------------------------------------------------------------------------


class Context:
    """bob's call, as gRPC shows it to who serves."""

    def __init__(self, place: str = "bob") -> None:
        self.place, self.cancelled = place, 0

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("user-agent", "alice"), ("vflc-place", self.place))

    def cancel(self) -> None:
        self.cancelled += 1

    def abort(self, code: object, why: str) -> None:
        raise PermissionError(code, why)


@pytest.fixture
def listener(clock: SimpleNamespace) -> Iterator[StreamServer]:
    """alice's, whom bob dials; `_fail` keeps what it is told in `told`."""
    alice = wiring.listening()
    alice.bind()
    made = alice._listener
    assert made is not None
    made.told = []
    made._fail = made.told.append
    yield made
    made.stop()


def serve(listener: StreamServer, *says: bytes, context: Context | None = None) -> list[bytes]:
    """What bob is told on a stream on which he says this and hangs up."""
    return list(listener._serve(iter(says), context or Context()))


def reasons(frames: list[bytes]) -> list[str]:
    return [
        REASONS[frame.reason] if (frame := decode(each)).kind == FrameKind.REFUSAL else "" for each in frames
    ]


def test_a_stream_begins_with_hellos_and_ends_with_who_dialled(listener: StreamServer) -> None:
    context, link = Context(), listener._links["bob"]
    said = serve(listener, HELLO, context=context)
    assert decode(said[0]).kind == FrameKind.HELLO and link.has_met()
    wiring.until(lambda: context.cancelled == 1 and not link.connected)
    assert link.state == "down since 12:00:00 (closed by the peer)" and not listener.told


def test_who_says_nothing_has_ten_seconds(listener: StreamServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert streams.PATIENCE == 10.0
    monkeypatch.setattr(streams, "PATIENCE", 0.01)
    silent: SimpleQueue[bytes] = SimpleQueue()
    assert list(listener._serve(iter(silent.get, b"over"), Context())) == []
    silent.put(b"over")
    assert serve(listener) == []


def test_another_process_is_turned_away_and_the_first_goes_on(listener: StreamServer) -> None:
    link = listener._links["bob"]
    stream, _ = link.attach()
    link.arrived(stream, HELLO)
    other = encode(Frame(FrameKind.HELLO, version=1, generation=1, incarnation=bytes(16)))
    assert reasons(serve(listener, other)) == ["taken"]
    assert stream == 1 and link.connected and not listener.told


@pytest.mark.parametrize("says", [(b"\xff" * 9,), (encode(Frame(FrameKind.RECEIPT)),), (HELLO, HELLO)])
def test_who_is_refused_is_heard_to_the_end(listener: StreamServer, says: tuple) -> None:
    """And then hangs up: what is written to a stream that is over reaches nobody."""
    heard, hung_up = list[str](), Event()

    def frames() -> Iterator[bytes]:
        yield from (*says, b"more")
        heard.append("more")
        hung_up.wait(wiring.LONG)

    for frame in listener._serve(frames(), Context()):
        heard += [reason for reason in reasons([frame]) if reason]
        if "refused" in heard:
            hung_up.set()
    wiring.until(lambda: len(heard) == 2)
    assert set(heard) == {"more", "refused"}
    (told,) = listener.told
    assert told.code == "VFL0645" and "'alice' refused a frame of 'bob'" in told.message


def test_a_defect_ends_the_stream_and_is_told(
    listener: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def arrived(stream: int, data: bytes) -> None:
        daemons.append(current_thread().daemon)
        raise DEFECT

    context, daemons = Context(), list[bool]()
    monkeypatch.setattr(listener._links["bob"], "arrived", arrived)
    assert [decode(each).kind for each in serve(listener, HELLO, context=context)] == [FrameKind.HELLO]
    wiring.until(lambda: context.cancelled == 1)
    assert listener.told == [DEFECT] and daemons == [True], "no stream keeps the process"


def test_the_last_three_strangers_are_remembered(listener: StreamServer) -> None:
    for name in ("alice", "mallory", "", "carol"):
        with pytest.raises(PermissionError, match="alice expects other parties to dial"):
            serve(listener, HELLO, context=Context(name))
    assert listener.refused == [f"{name!r} at 12:00:00" for name in ("mallory", "", "carol")]


@pytest.mark.parametrize(("busy", "found"), [(0, True), (3, True), (4, False)])
@pytest.mark.parametrize("secure", [True, False])
def test_a_port_that_is_not_free_yet_is_tried_again(
    clock: SimpleNamespace, busy: int, found: bool, secure: bool
) -> None:
    """As where the process that has it is ending."""
    tries: list[tuple] = []

    def add(*asked: object) -> int:
        tries.append(asked)
        if len(tries) <= busy:
            raise RuntimeError("in use")
        return 7

    own = SimpleNamespace(key=b"k", certificate=b"c", authority=b"a") if secure else None
    server = SimpleNamespace(**{"add_secure_port" if secure else "add_insecure_port": add})
    grpc = SimpleNamespace(ssl_server_credentials=lambda *asked: asked)
    here = SimpleNamespace(_own=own, _server=server, _grpc=grpc)
    if found:
        assert StreamServer._bind(here, "127.0.0.1:7") == 7
    else:
        with pytest.raises(Failure, match=r"cannot listen at '127\.0\.0\.1:7'") as taken:
            StreamServer._bind(here, "127.0.0.1:7")
        assert taken.value.code == "VFL0646"
    assert clock.slept == [0.1, 0.4, 1.0][:busy] and len(tries) == min(busy + 1, 4)
    asked = ("127.0.0.1:7", ([(b"k", b"c")], b"a", True)) if secure else ("127.0.0.1:7",)
    assert set(map(str, tries)) == {str(asked)}


def test_a_listener_has_threads_for_two_streams_of_each_and_four_of_strangers() -> None:
    """For the one of a process that is gone, too; who is no party is told so and sent away."""
    pools, settings = [], {}

    def server(pool: Any, options: list, maximum_concurrent_rpcs: int) -> Any:
        pools.append((pool._max_workers, maximum_concurrent_rpcs))
        settings.update(options)
        return SimpleNamespace(
            add_generic_rpc_handlers=lambda handlers: None, add_insecure_port=lambda address: 7
        )

    grpc = SimpleNamespace(
        server=server,
        stream_stream_rpc_method_handler=lambda serve: serve,
        method_handlers_generic_handler=lambda *named: named,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "grpc_module", lambda: grpc)
        StreamServer("alice", "127.0.0.1:0", dict.fromkeys(["bob", "carol", "dave"]), None, 100, print)
    assert pools == [(10, 10)] and settings["grpc.max_concurrent_streams"] == 2
    for name in ("server_handshake_timeout_ms", "max_connection_idle_ms"):
        assert settings[f"grpc.{name}"] == 10_000
