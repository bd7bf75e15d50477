"""Addresses with tls://: what crosses, who is turned away, and what strangers can do to who listens."""

from __future__ import annotations

import socket
import ssl
import struct
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import wiring
from vflc_runtime.errors import Failure
from vflc_runtime.transport import tls_ends
from vflc_runtime.transport.grpc.network import GrpcNetwork
from vflc_runtime.transport.linked import LinkedNetwork
from vflc_runtime.transport.rules import MessageRules
from vflc_runtime.transport.tls import Identity, Tls
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


def test_a_length_that_nothing_declared_has(folder: Path) -> None:
    """It is refused before it is waited for."""
    alice, files = listening(of(folder, "good", "alice")), of(folder, "good", "bob")
    own = Identity(files, files.authority.read_bytes(), b"", b"", expires=2e9)

    def long() -> None:
        connection = socket.create_connection(("127.0.0.1", alice.bind() or 0))
        stream = TlsStream(connection, context(own, server=False), server=False, patience=wiring.LONG)
        stream.greet()
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

    def read(count: int) -> bytes:
        asked.append(count)
        return b"" if len(asked) > 3 else struct.pack("<I", 1 << 30) if len(asked) == 1 else bytes(count)

    files = of(folder, "good", "alice")
    own = Identity(files, files.authority.read_bytes(), b"", b"", expires=2e9)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as connection,
    ):
        stream = TlsStream(connection, context(own, server=False), server=False, patience=1)
        stream._tls = SimpleNamespace(read=read)
        assert stream.receive(1 << 30) is None
    assert max(asked) <= 1 << 14


def test_without_certificates_there_is_no_such_address() -> None:
    with pytest.raises(Failure) as caught:
        TlsEnds("alice", None)
    assert caught.value.code == "VFL0642"
