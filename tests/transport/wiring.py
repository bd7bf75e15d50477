"""Networks of a few places on loopback, and a proxy between them that can be cut."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from threads import Exchange
from vflc_runtime.bundle.manifest import ControlMessage, Edge, Manifest, Message
from vflc_runtime.transport.grpc.network import GrpcNetwork
from vflc_runtime.transport.messages import Envelope
from vflc_runtime.transport.network import Network
from vflc_runtime.transport.rules import MessageRules
from vflc_runtime.transport.tls import Tls

from vflc.cli.certs import make

LONG = 120.0
"""A timeout that no test waits for, however busy the machine is."""
ROWS = 64
WIDTH = 8


def manifest(places: Sequence[str], width: int = WIDTH) -> Manifest:
    """Between any two places a message `A>B` of two edges, and the control messages `word` and `late`."""
    edges, messages = {}, {}
    for a, b in itertools.permutations(places, 2):
        phase = "forward" if a < b else "backward"
        wide = Edge(f"{a}>{b}.wide", "w", a, b, phase, ("batch", width), "float32", ("train",))
        ids = Edge(f"{a}>{b}.ids", "i", a, b, phase, (3,), "int32", ("train",))
        edges |= {wide.id: wide, ids.id: ids}
        messages[f"{a}>{b}"] = Message(f"{a}>{b}", a, b, phase, ("train",), (wide.id, ids.id))
    controls = tuple(
        ControlMessage(kind, a, b, 100)
        for kind in ("word", "late")
        for a, b in itertools.permutations(places, 2)
    )
    names = tuple(places)
    return Manifest("m", "float32", "0", names, names, edges, messages, "d", {}, {}, controls=controls)


def envelope(a: str, b: str, step: int, rows: int = ROWS, width: int = WIDTH) -> Envelope:
    """A message whose content follows from the step."""
    wide = np.random.default_rng(step).random((rows, width), np.float32)
    tensors = {f"{a}>{b}.wide": wide, f"{a}>{b}.ids": np.array([step, 1, 2], np.int32)}
    return Envelope(f"{a}>{b}", a, "forward" if a < b else "backward", "train", step, tensors)


def same(left: Envelope, right: Envelope) -> bool:
    """Equal to the bit, but for who keeps the tensors."""
    heads = [(e.message, e.sender, e.phase, e.program, e.step, list(e.tensors)) for e in (left, right)]
    equal = all(np.array_equal(left.tensors[name], right.tensors[name]) for name in left.tensors)
    return heads[0] == heads[1] and equal


def certificates(folder: Path, *parties: str) -> dict[str, Tls]:
    """An authority in `folder` and a certificate for each party."""
    make(folder, parties)
    return {name: files(folder, name) for name in parties}


def files(folder: Path, name: str) -> Tls:
    return Tls(folder / "authority.pem", folder / f"{name}.pem", folder / f"{name}.key")


def threads(*places: str, timeout: float = LONG) -> dict[str, Network]:
    exchange = Exchange(places, manifest(places).controls)
    return {place: exchange.join(place, timeout) for place in places}


def grpc(
    *places: str, timeout: float = LONG, tls: dict[str, Tls] | None = None, width: int = WIDTH
) -> dict[str, GrpcNetwork]:
    """Networks of which all listen, not yet open."""
    declared = manifest(places, width)
    addresses: dict[str, dict[str, str | None]] = {}
    networks = {}
    for place in places:
        addresses[place] = dict.fromkeys((each for each in places if each != place), "127.0.0.1:0")
        rules = MessageRules(declared, place, ROWS)
        own = tls[place] if tls else None
        networks[place] = GrpcNetwork(place, addresses[place], "127.0.0.1:0", rules, own, timeout)
    for place, network in networks.items():
        port = network.bind()
        for other in places:
            if other != place:
                addresses[other][place] = f"127.0.0.1:{port}"
    return networks


def dialling(
    address: str, timeout: float = LONG, tls: Tls | None = None, place: str = "bob", peer: str = "alice"
) -> GrpcNetwork:
    """A place that does not listen, not yet open."""
    rules = MessageRules(manifest(("alice", "bob")), place, ROWS)
    return GrpcNetwork(place, {peer: address}, None, rules, tls, timeout)


def listening(timeout: float = LONG, tls: Tls | None = None, port: int = 0) -> GrpcNetwork:
    """alice, at whom bob has to dial, not yet open."""
    rules = MessageRules(manifest(("alice", "bob")), "alice", ROWS)
    return GrpcNetwork("alice", {"bob": None}, f"127.0.0.1:{port}", rules, tls, timeout)


def together(*tasks: Callable[[], object], within: float = 240.0) -> list[object]:
    """Runs every task in a thread: its results, or the exceptions they ended with."""

    def outcome(task: Callable[[], object]) -> object:
        try:
            return task()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [each.result(within) for each in [pool.submit(outcome, task) for task in tasks]]


def meanwhile(task: Callable[[], object]) -> threading.Thread:
    """Runs the task in a thread that nobody has to wait for, whatever it ends with."""

    def run() -> None:
        with suppress(Exception):
            task()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    """Waits for something that another thread is to do."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def opened(networks: dict[str, Network]) -> dict[str, Network]:
    assert together(*(each.open for each in networks.values())) == [None] * len(networks)
    return networks


@contextmanager
def closing(*networks: Network) -> Iterator[None]:
    try:
        yield
    finally:
        together(*(lambda each=each: each.close("failed") for each in networks))


class Proxy:
    """Passes bytes between whoever connects and `port`, until it is cut, stalled or told to wait."""

    def __init__(self, port: int) -> None:
        self._target, self.delay = port, 0.0
        self._passing = threading.Event()
        self._passing.set()
        self._refusing = False
        self._pairs: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Ends every connection and accepts no other until `mend`."""
        self._refusing = True
        pairs, self._pairs = self._pairs, []
        for each in pairs:
            end(each)

    def mend(self) -> None:
        self._refusing = False

    def stall(self) -> None:
        """Keeps connections open and lets nothing through until `go_on`."""
        self._passing.clear()

    def go_on(self) -> None:
        self._passing.set()

    def close(self) -> None:
        self._server.close()
        self.go_on()
        self.cut()

    def _serve(self) -> None:
        while True:
            try:
                here, _ = self._server.accept()
            except OSError:
                return
            if self._refusing:
                here.close()
                continue
            self.connections += 1
            try:
                there = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # nobody listens there yet
                end(here)
                continue
            self._pairs += [here, there]
            for a, b in ((here, there), (there, here)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                self._passing.wait()
                if self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
        except OSError:
            pass
        end(source)
        end(sink)


def end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
