"""What anybody can do who reaches the port, and what the environment says, changes nothing for a link."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import wiring
from vflc_runtime import files
from vflc_runtime.errors import Failure
from vflc_runtime.transport import descriptors
from vflc_runtime.transport.grpc import streams

from vflc.cli.failures import report


@pytest.fixture(params=["plain", "tls"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple]:
    """alice, who listens with little room and patience, and bob, who dials her; not open."""
    monkeypatch.setattr(descriptors, "MOST", 12)
    monkeypatch.setattr(streams, "PATIENCE", 2.0)
    tls = wiring.certificates(tmp_path, "alice", "bob") if request.param == "tls" else {}
    alice = wiring.listening(tls=tls.get("alice"))
    bob = wiring.dialling(f"127.0.0.1:{alice.bind()}", tls=tls.get("bob"))
    with wiring.closing(alice, bob):
        yield alice, bob


def idle(address: str, count: int) -> list[socket.socket]:
    """Connections on which nothing is said."""
    host, port = address.split(":")
    return [socket.create_connection((host, int(port))) for _ in range(count)]


def held(connections: list[socket.socket]) -> int:
    """How many of them the other side has not closed."""
    count = 0
    for each in connections:
        each.setblocking(False)
        try:
            while each.recv(4096):  # HTTP/2 greets whoever speaks no TLS
                pass
        except BlockingIOError:
            count += 1
        except ConnectionError:
            pass
    return count


def test_idle_connections_are_few_and_short(pair: tuple) -> None:
    alice, bob = pair
    assert wiring.together(alice.open, bob.open) == [None, None]
    strangers = idle(bob._addresses["alice"], 60)
    try:
        wiring.until(lambda: held(strangers) < 12)
        bob.tell("alice", "word", b"meanwhile")
        assert alice.hear("bob", "word", 100) == b"meanwhile"
        wiring.until(lambda: held(strangers) == 0)
    finally:
        for each in strangers:
            each.close()


def test_who_was_crowded_out_gets_in_later(pair: tuple) -> None:
    alice, bob = pair
    opening = wiring.meanwhile(alice.open)
    wiring.until(lambda: alice._dialers is not None and alice._listener is not None)
    strangers = idle(bob._addresses["alice"], 60)
    try:
        bob.open()
        opening.join(wiring.LONG)
        bob.tell("alice", "word", b"at last")
        assert alice.hear("bob", "word", 100) == b"at last"
    finally:
        for each in strangers:
            each.close()


def test_the_limit_is_raised_and_half_of_it_left() -> None:
    """In a process of its own, since a limit once lowered stays so."""
    code = """
import resource
from vflc_runtime.transport.descriptors import MOST, allowed_connections
for soft, hard, connections in ((64, 300, 150), (300, 300, 150), (20, 20, 10)):
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert allowed_connections() == connections, connections
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
"""
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("number", "whose"), [(errno.EMFILE, "this process"), (errno.ENFILE, "this machine")]
)
def test_want_of_descriptors_is_not_want_of_space(
    number: int, whose: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(number, os.strerror(number))
    for each in (error, OSError(f"[errno {number}] from Arrow")):
        said = f"cannot write runs: {whose}"
        with pytest.raises(Failure, match=said) as caught, files.writing(Path("runs")):
            raise each
        assert caught.value.code == "VFL0649" and "space" not in str(caught.value.help)
    assert report(error) == 1
    assert "VFL0649" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["http_proxy", "grpc_proxy", "https_proxy", "GRPC_ADDRESS_HTTP_PROXY"])
def test_no_proxy_is_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At port 9 nobody answers."""
    monkeypatch.setenv(name, "127.0.0.1:9" if name.isupper() else "http://127.0.0.1:9")
    monkeypatch.setenv("GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES", "127.0.0.0/8")
    for exempt in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(exempt, raising=False)
    alice = wiring.listening()
    bob = wiring.dialling(f"127.0.0.1:{alice.bind()}")
    with wiring.closing(alice, bob):
        assert wiring.together(alice.open, bob.open) == [None, None]
