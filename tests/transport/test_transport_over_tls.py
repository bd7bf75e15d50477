"""Addresses with tls://: what crosses, who is turned away, and what strangers can do to who listens."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import wiring
from vflc_runtime.errors import Failure
from vflc_runtime.transport import tls_ends, tls_stream
from vflc_runtime.transport.crowd import Crowd
from vflc_runtime.transport.frames import Frame, FrameKind, Tensor, decode, encode
from vflc_runtime.transport.grpc.network import GrpcNetwork
from vflc_runtime.transport.linked import LinkedNetwork
from vflc_runtime.transport.network import REASONS
from vflc_runtime.transport.rules import MessageRules
from vflc_runtime.transport.tls import Identity, Tls, expiry
from vflc_runtime.transport.tls_ends import TlsEnds
from vflc_runtime.transport.tls_stream import TlsStream, context

from vflc.cli.certs import make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`good` and `other` authorities, and `late`, of the good one, whose certificates have expired."""
    folder = tmp_path_factory.mktemp("certs")
    for name in ("good", "other"):
        make(folder / name, ("alice", "bob", "mallory"))
    (folder / "late").mkdir()
    for name in ("authority.pem", "authority.key"):
        (folder / "late" / name).write_bytes((folder / "good" / name).read_bytes())
    make(folder / "late", ("alice", "bob"), valid=timedelta(seconds=-60))
    (folder / "mixed").mkdir()
    for name, source in (("authority.pem", "good"), ("bob.pem", "other"), ("bob.key", "other")):
        (folder / "mixed" / name).write_bytes((folder / source / name).read_bytes())
    return folder


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A party that does not look at its own certificate first, as an attacker would not."""

    def unchecked(tls: Tls, place: str) -> Identity:
        content = [file.read_bytes() for file in (tls.authority, tls.certificate, tls.key)]
        return Identity(tls, *content, expires=2e9)

    monkeypatch.setattr(tls_ends, "identity", unchecked)


def of(folder: Path, authority: str, name: str) -> Tls:
    return wiring.files(folder / authority, name)


def network(place: str, peers: dict[str, str | None], listen: str | None, tls: Tls | None) -> LinkedNetwork:
    rules, ends = MessageRules(wiring.manifest(("alice", "bob")), place, wiring.ROWS), TlsEnds(place, tls)
    return LinkedNetwork(place, peers, listen, rules, lambda address: ("tls", ends, address), wiring.LONG)


def listening(tls: Tls) -> LinkedNetwork:
    return network("alice", {"bob": None}, "127.0.0.1:0", tls)


def dialling(address: str, tls: Tls) -> LinkedNetwork:
    return network("bob", {"alice": address}, None, tls)


def test_all_arrives_once_and_in_order_though_the_line_is_cut(folder: Path) -> None:
    alice = listening(of(folder, "good", "alice"))
    proxy = wiring.Proxy(alice.bind() or 0)
    bob = dialling(proxy.address, of(folder, "good", "bob"))
    with wiring.closing(alice, bob):
        assert wiring.together(alice.open, bob.open) == [None, None]
        for step in range(1, 31):
            if step % 10 == 0:
                proxy.cut()
                proxy.mend()
            alice.send("bob", wiring.envelope("alice", "bob", step))
            bob.send("alice", wiring.envelope("bob", "alice", step))
            assert wiring.same(bob.take("alice", "alice>bob"), wiring.envelope("alice", "bob", step))
            assert wiring.same(alice.take("bob", "bob>alice"), wiring.envelope("bob", "alice", step))
        assert wiring.together(alice.close, bob.close) == [None, None]
    proxy.close()
    assert proxy.connections == 4


WRONG = {
    "the listener is of another authority": (("other", "alice"), ("good", "bob"), "VFL0644", "refused: "),
    "the listener is somebody else": (("good", "mallory"), ("good", "bob"), "VFL0644", "for 'mallory'"),
    "the listener has expired": (("late", "alice"), ("good", "bob"), "VFL0644", "expired"),
    "who dials is of another authority": (("good", "alice"), ("mixed", "bob"), "VFL0643", "unknown ca"),
    "who dials is somebody else": (("good", "alice"), ("good", "mallory"), "VFL0644", "does not accept"),
    "who dials has expired": (("good", "alice"), ("late", "bob"), "VFL0643", "certificate expired"),
}


@pytest.mark.parametrize("case", WRONG)
def test_strangers_are_turned_away(folder: Path, trusting: None, case: str) -> None:
    here, there, code, named = WRONG[case]
    alice = listening(of(folder, *here))
    bob = dialling(f"127.0.0.1:{alice.bind()}", of(folder, *there))
    with wiring.closing(alice, bob):
        wiring.meanwhile(alice.open)
        (outcome,) = wiring.together(bob.open)
        assert isinstance(outcome, Failure) and outcome.exit_code == 3
        assert outcome.code == code and named in outcome.message
        assert not alice._links["bob"].has_met()


def test_grpc_at_one_end_alone(folder: Path) -> None:
    rules = MessageRules(wiring.manifest(("alice", "bob")), "alice", wiring.ROWS)
    alice = GrpcNetwork(
        "alice", {"bob": None}, "127.0.0.1:0", rules, of(folder, "good", "alice"), wiring.LONG
    )
    bob = dialling(f"127.0.0.1:{alice.bind()}", of(folder, "good", "bob"))
    with wiring.closing(alice, bob):
        wiring.meanwhile(alice.open)
        (outcome,) = wiring.together(bob.open)
        assert isinstance(outcome, Failure) and outcome.code == "VFL0644"
        assert "not as at a tls:// address" in outcome.message


def test_what_strangers_say_keeps_nobody_else_away(folder: Path) -> None:
    """Silence, junk, no certificate, and one who goes at once."""
    alice = listening(of(folder, "good", "alice"))
    port = alice.bind()
    silent, junk, gone = (socket.create_connection(("127.0.0.1", port)) for _ in range(3))
    junk.sendall(b"GET / HTTP/1.1\r\n\r\n" * 1000)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()
    nameless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nameless.load_verify_locations(of(folder, "good", "alice").authority)
    nameless.check_hostname = False
    bob = dialling(f"127.0.0.1:{port}", of(folder, "good", "bob"))
    with wiring.closing(alice, bob), silent, junk:
        wiring.meanwhile(alice.open)
        with (
            socket.create_connection(("127.0.0.1", port)) as connection,
            pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
            nameless.wrap_socket(connection) as secured,
        ):
            secured.recv(1)
        assert wiring.together(bob.open) == [None]
        bob.tell("alice", "word", b"here")
        assert alice.hear("bob", "word", 100) == b"here"


def connected(port: int, count: int) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", port), wiring.LONG) for _ in range(count)]


def test_strangers_keep_strangers_out_and_no_peer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: a peer comes in, and stays."""
    monkeypatch.setattr(tls_ends, "STRANGERS", 8)
    alice = listening(of(folder, "good", "alice"))
    port = alice.bind() or 0
    proxy = wiring.Proxy(port)
    bob = dialling(proxy.address, of(folder, "good", "bob"))
    with wiring.closing(alice, bob):
        wiring.meanwhile(alice.open)
        strangers = connected(port, 20)
        assert strangers[0].recv(1) == b""  # the oldest made room
        assert wiring.together(bob.open) == [None]
        strangers += connected(port, 20)
        assert strangers[20].recv(1) == b""
        bob.tell("alice", "word", b"here")
        assert alice.hear("bob", "word", 100) == b"here" and proxy.connections == 1
        wiring.until(lambda: len(alice._listener._streams) <= 8 + 1)
    proxy.close()
    for each in strangers:
        each.close()


def test_a_handshake_that_goes_on_and_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is when it began, and not when something was heard last."""
    monkeypatch.setattr(tls_ends, "GREETING", 0.3)
    alice = listening(of(folder, "good", "alice"))
    (slow,) = connected(alice.bind() or 0, 1)
    with wiring.closing(alice), slow:
        wiring.meanwhile(alice.open)
        slow.sendall(b"\x16\x03\x01\x40\x00")  # a record of 16 KiB, of which little comes
        slow.settimeout(0.05)
        begin = time.monotonic()
        while time.monotonic() - begin < wiring.LONG:
            try:
                slow.sendall(b"\x01")
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert 0.2 < time.monotonic() - begin < tls_ends.PATIENCE


class Held:
    """A stream of which only the end matters."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_who_comes_alone_stays_where_others_come_in_numbers() -> None:
    crowd, alone, many = Crowd(4), Held(), [Held() for _ in range(50)]
    crowd.add(alone, "10.0.0.1")
    for each in many:
        crowd.add(each, "10.0.0.2")
    assert not alone.closed and [each.closed for each in many] == [True] * 47 + [False] * 3
    crowd.discard(many[-1])
    crowd.add(Held(), "10.0.0.3")
    assert not (alone.closed or many[-2].closed)


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2::9", "2001:0db8:0001:0002"),
        ("2001:db8:1:2:ffff::1", "2001:0db8:0001:0002"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
    ],
)
def test_whose_an_address_is(host: str, network: str) -> None:
    assert tls_stream._network(host) == network


def test_certificates_that_expire_end_the_link_at_both(folder: Path) -> None:
    files = {name: of(folder, "good", name) for name in ("alice", "bob")}
    alice = listening(files["alice"])
    bob = dialling(f"127.0.0.1:{alice.bind()}", files["bob"])
    with wiring.closing(alice, bob):
        assert wiring.together(alice.open, bob.open) == [None, None]
        seen = {"alice": bob._links["alice"], "bob": alice._links["bob"]}
        for name, link in seen.items():
            assert link.expires == expiry(files[name].certificate.read_bytes())
        seen["bob"].expires = bob._expires = 0.0  # the day has come
        found = wiring.together(
            lambda: alice.take("bob", "bob>alice"), lambda: bob.take("alice", "alice>bob")
        )
        for each in found:  # who hears it from the other first leaves for the same reason
            assert getattr(each, "code", "") == "VFL0644" or getattr(each, "reason", "") == "expired", found
        assert any("the certificate of 'bob' has expired" in str(each) for each in found)


def frames_by_hand(alice: LinkedNetwork, own: Identity) -> TlsStream:
    """bob, who says what he wants."""
    connection = socket.create_connection(("127.0.0.1", alice.bind() or 0))
    stream = TlsStream(connection, context(own, server=False), server=False, patience=wiring.LONG)
    stream.greet(wiring.LONG)
    stream.send(encode(Frame(FrameKind.HELLO, version=1, generation=1, incarnation=bytes(range(1, 17)))))
    return stream


def framed(wide: np.ndarray, number: int = 1, **change: int) -> bytes:
    """The message from bob, with `wide` [rows, width]."""
    ids = np.zeros(3, np.int32)
    tensors = (Tensor(0, 0, wide.shape), Tensor(1, 2, ids.shape))
    fields = {"generation": 1, "index": 1, "step": 1, **change}
    return encode(Frame(FrameKind.MESSAGE, number=number, tensors=tensors, **fields), [wide, ids])


GOOD = np.ones((wiring.ROWS, wiring.WIDTH), np.float32)
HOSTILE = {
    "bytes that are no frame": (b"\xff" * 50, "VFL0645"),
    "a tensor of another width": (framed(np.ones((wiring.ROWS, 3), np.float32), 2), "VFL0645"),
    "the message of alice": (framed(GOOD, 2, index=0), "VFL0645"),
    "the same again": (framed(GOOD, 1), "VFL0645"),
    "a NaN after one that was well": (framed(np.full_like(GOOD, np.nan), 2), "VFL0611"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_peer_that_says_what_it_may_not(folder: Path, case: str) -> None:
    """After a message as it should be, which is taken; the peer hears that it is refused."""
    bad, code = HOSTILE[case]
    alice, files = listening(of(folder, "good", "alice")), of(folder, "good", "bob")
    own = Identity(files, files.authority.read_bytes(), b"", b"", expires=2e9)
    alice.bind()
    opening = wiring.meanwhile(alice.open)
    with wiring.closing(alice):
        stream = frames_by_hand(alice, own)
        stream.send(framed(GOOD))
        opening.join(wiring.LONG)
        assert np.array_equal(alice.take("bob", "bob>alice").tensors["bob>alice.wide"], GOOD)
        stream.send(bad)
        (outcome,) = wiring.together(lambda: alice.take("bob", "bob>alice"))
        assert isinstance(outcome, Failure) and outcome.code == code and "bob" in outcome.message
        said = []
        while block := stream.receive(1 << 20):
            said.append(decode(block))
        assert said[-1].kind == FrameKind.REFUSAL and REASONS[said[-1].reason] == "refused"
        stream.close()


def test_a_length_that_nothing_declared_has(folder: Path) -> None:
    """It is refused before it is waited for."""
    alice, files = listening(of(folder, "good", "alice")), of(folder, "good", "bob")
    own = Identity(files, files.authority.read_bytes(), b"", b"", expires=2e9)

    def long() -> None:
        connection = socket.create_connection(("127.0.0.1", alice.bind() or 0))
        stream = TlsStream(connection, context(own, server=False), server=False, patience=wiring.LONG)
        stream.greet(wiring.LONG)
        stream._tls.write(struct.pack("<I", 1 << 31))
        stream._flush()
        stream.receive(0)
        stream.close()

    alice.bind()
    with wiring.closing(alice):
        outcome, _ = wiring.together(alice.open, long)
    assert isinstance(outcome, Failure) and outcome.code == "VFL0645" and str(1 << 31) in outcome.message


def test_memory_is_taken_for_what_has_come_alone(folder: Path) -> None:
    """Not for a length that is allowed and only claimed."""
    asked: list[int] = []

    def read(count: int, into: memoryview) -> int:
        assert len(into) == count
        asked.append(count)
        if len(asked) == 1:
            into[:] = struct.pack("<I", 1 << 30)
        return count if len(asked) < 4 else 0

    files = of(folder, "good", "alice")
    own = Identity(files, files.authority.read_bytes(), b"", b"", expires=2e9)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as connection,
    ):
        stream = TlsStream(connection, context(own, server=False), server=False, patience=1)
        stream._tls = SimpleNamespace(read=read, pending=lambda: 1)
        assert stream.receive(1 << 30) is None
    assert max(asked) <= 1 << 14


def test_without_certificates_there_is_no_such_address() -> None:
    with pytest.raises(Failure) as caught:
        TlsEnds("alice", None)
    assert caught.value.code == "VFL0642"
