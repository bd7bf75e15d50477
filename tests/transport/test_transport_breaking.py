"""A line that breaks anywhere, also within a frame, between parties that send frames of all sizes."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest
import wiring
from vflc_runtime.transport.linked import LinkedNetwork
from vflc_runtime.transport.rules import MessageRules
from vflc_runtime.transport.tls_ends import TlsEnds

from vflc.cli.certs import make

WIDTH, ROWS, STEPS = 512, 1024, 60
SIZES = (1, 2, 10, 24, 25, 100, 511, 512, 1024)
"""Rows of a frame: from less than a piece of TLS to more than its maker sends itself."""


class Breaking(wiring.Proxy):
    """Passes blocks of all sizes, and breaks now and then within one."""

    def __init__(self, port: int, seed: int) -> None:
        self.random = random.Random(seed)
        super().__init__(port)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        draw = random.Random(self.random.random())
        try:
            while data := source.recv(draw.choice([1, 100, 5000, 1 << 16, 1 << 20])):
                if draw.random() < 0.01:
                    sink.sendall(data[: draw.randrange(len(data) + 1)])
                    break
                sink.sendall(data)
        except OSError:
            pass
        wiring.end(source)
        wiring.end(sink)


@pytest.mark.parametrize("seed", [1, 2])
def test_all_arrives_once_and_as_it_was(tmp_path: Path, seed: int) -> None:
    make(tmp_path, ("alice", "bob"))
    declared, draw = wiring.manifest(("alice", "bob"), WIDTH), random.Random(seed)
    open_before = open_files()

    def network(place: str, peers: dict[str, str | None], listen: str | None) -> LinkedNetwork:
        ends = TlsEnds(place, wiring.files(tmp_path, place))
        rules = MessageRules(declared, place, ROWS)
        return LinkedNetwork(place, peers, listen, rules, lambda address: ("tls", ends, address), wiring.LONG)

    alice = network("alice", {"bob": None}, "127.0.0.1:0")
    proxy = Breaking(alice.bind() or 0, seed)
    bob = network("bob", {"alice": proxy.address}, None)
    with wiring.closing(alice, bob):
        assert wiring.together(alice.open, bob.open) == [None, None]
        for step in range(1, STEPS + 1):
            there = wiring.envelope("alice", "bob", step, draw.choice(SIZES), WIDTH)
            back = wiring.envelope("bob", "alice", step, draw.choice(SIZES), WIDTH)
            alice.send("bob", there)
            bob.send("alice", back)
            assert wiring.same(bob.take("alice", "alice>bob"), there)
            assert wiring.same(alice.take("bob", "bob>alice"), back)
        assert wiring.together(alice.close, bob.close) == [None, None]
    proxy.close()
    assert proxy.connections > 3, "the line broke"
    wiring.until(lambda: open_files() <= open_before + 2)  # the proxy's own, until its thread has ended


def open_files() -> int:
    """Descriptors that this process has; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len([*folder.iterdir()]) if folder.is_dir() else 0
