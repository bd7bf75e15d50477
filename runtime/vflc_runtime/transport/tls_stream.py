"""A stream of blocks over a TCP connection and TLS 1.3, both ends of which show a certificate.

TLS is computed in memory, under a lock, and not by a socket of `ssl`: one thread reads while another writes,
which OpenSSL allows no two threads to do with one connection, and all that a block needs is one call of the
system. A block follows its length, four bytes, little endian.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from threading import Lock
from typing import Any, cast

import numpy as np

from vflc_runtime.transport.frames import FrameBytes
from vflc_runtime.transport.plain import TooLong
from vflc_runtime.transport.tls import Identity, names_shown

PROTOCOL = "vflc"
"""What both ends name in the handshake (ALPN)."""
_LENGTH = struct.Struct("<I")
_FIRST, _AT_ONCE = 1 << 12, 1 << 18
"""Bytes that are taken from the system at once, before somebody has shown a certificate and after it."""
PIECE = 3 << 14
"""Bytes of a block that are sealed and sent before the next, three records of TLS."""
_PARTING = 2.0
"""Seconds for which who is turned away may still talk, so that it hears why."""


def context(own: Identity, server: bool) -> ssl.SSLContext:
    """TLS 1.3 for a party with this identity; whoever is at the other end must have one, too.

    Certificates name parties, not hosts: who asks for the names of the other end compares them.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=own.authority.decode("ascii", "replace"))
    made.load_cert_chain(own.files.certificate, own.files.key)
    made.set_alpn_protocols([PROTOCOL])
    if server:
        made.num_tickets = 0  # nobody resumes
    return made


class TlsStream:
    """See `plain.Stream`. What fails in TLS is an `ssl.SSLError`, which is an `OSError`.

    Args:
        connection: of TCP; the stream closes it.
        secure: with what TLS is spoken.
        server: whether the other end has dialled.
        patience: seconds in which something must move.

    `network` is from where the other end is connected: an address, or the half of one that says whose it is.
    """

    def __init__(
        self, connection: socket.socket, secure: ssl.SSLContext, server: bool, patience: float
    ) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(patience)
        self.network = _network(str(connection.getpeername()[0]))
        self._connection, self._patience = connection, patience
        self._coming, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = secure.wrap_bio(self._coming, self._leaving, server_side=server)
        self._lock, self._writing = Lock(), Lock()
        self._pieces: Iterator[bytes | memoryview] = iter(())
        self._sealed, self._at_once = memoryview(b""), connection
        self._arrived, self._largest = memoryview(bytearray(_FIRST)), _FIRST

    def greet(self, within: float) -> None:
        """The handshake; `OSError` where it does not come to an end within so many seconds."""
        end = time.monotonic() + within
        while True:
            if (left := end - time.monotonic()) <= 0:
                raise TimeoutError("the handshake takes too long")
            self._connection.settimeout(left)
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._more():
                    raise ConnectionError("closed in the handshake") from None
                continue
            except ssl.SSLError:
                with suppress(OSError):
                    self._flush()  # the other end is told
                    self.part()
                raise
            self._flush()
            self._connection.settimeout(self._patience)
            self._at_once = self._connection.dup()
            self._at_once.setblocking(False)
            self._arrived = memoryview(bytearray(_AT_ONCE))
            return

    def other_end(self) -> tuple[list[str], float]:
        """The names in the other end's certificate, and when it expires, in seconds since 1970."""
        shown: dict[str, Any] = self._tls.getpeercert() or {}
        return names_shown(self._tls), float(ssl.cert_time_to_seconds(shown["notAfter"]))

    def speaks_frames(self) -> bool:
        """Whether the other end is one of these, too, and no gRPC or web server with a certificate."""
        return self._tls.selected_alpn_protocol() == PROTOCOL

    def send(self, block: bytes) -> None:
        """See `plain.Stream`."""
        with self._writing:
            self._pieces = _pieces(block)
            self._put(self._connection)

    def send_now(self, block: bytes) -> bool:
        """See `plain.QuickStream`."""
        try:
            with self._writing:
                self._pieces = _pieces(block)
                self._put(self._at_once)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
        except BaseException:  # a signal's, and nobody knows how much has gone
            self.close()
            raise
        return True

    def finish(self) -> None:
        """See `plain.QuickStream`."""
        with self._writing:
            self._put(self._connection)

    def receive(self, most: int) -> FrameBytes | None:
        """See `plain.Stream`; no more memory is taken than twice what has come, or came once."""
        head = self._read(_LENGTH.size)
        if head is None:
            return None
        (length,) = _LENGTH.unpack(head)
        if length > most:
            raise TooLong(f"a block of {length} bytes, where {most} are the most")
        return self._read(length)

    def part(self) -> None:
        """Says no more, and waits a little until the other end hangs up: then it has heard what was said."""
        end = time.monotonic() + _PARTING
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
            while (left := end - time.monotonic()) > 0:
                self._connection.settimeout(left)
                if not self._connection.recv_into(self._arrived):
                    return

    def close(self) -> None:
        """See `plain.Stream`."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._at_once.close()

    def _read(self, count: int) -> memoryview | None:
        """So many bytes; None where the stream ends before."""
        tls, space, at = self._tls, np.empty(min(count, self._largest), np.uint8).data, 0
        while at < count:
            if at == len(space):
                space = _larger(space, min(count, 2 * at))
            try:
                with self._lock:
                    waiting = self._coming.pending or tls.pending()
                    read = cast(int, tls.read(len(space) - at, space[at:])) if waiting else -1
            except ssl.SSLWantReadError:
                read = -1
            except ssl.SSLZeroReturnError:
                return None
            if read == 0 or (read < 0 and not self._more()):
                return None
            at += max(read, 0)
        self._largest = max(self._largest, count)
        return space.toreadonly()

    def _more(self) -> bool:
        """Waits for bytes; False where there are no more."""
        count = self._connection.recv_into(self._arrived)
        with self._lock:
            self._coming.write(self._arrived[:count])
        return count > 0

    def _put(self, connection: socket.socket) -> None:
        """Sends what is sealed, and then the rest of the block, piece after piece."""
        while True:
            while self._sealed:
                self._sealed = self._sealed[connection.send(self._sealed) :]
            piece = next(self._pieces, None)
            if piece is None:
                return
            self._seal(piece)

    def _seal(self, piece: bytes | memoryview) -> None:
        with self._lock:
            if piece:
                self._tls.write(piece)
            self._sealed = memoryview(self._leaving.read())

    def _flush(self) -> None:
        """Sends what TLS itself has to say."""
        self._seal(b"")
        self._put(self._connection)


def _pieces(block: bytes) -> Iterator[bytes | memoryview]:
    """A block after its length, in pieces."""
    view, first = memoryview(block), PIECE - _LENGTH.size
    yield _LENGTH.pack(len(block)) + view[:first]
    for start in range(first, len(view), PIECE):
        yield view[start : start + PIECE]


def _network(host: str) -> str:
    """Of IP 6 the half that a provider gives to one customer, who has all addresses in it."""
    if ":" not in host:
        return host
    return ipaddress.ip_address(host.partition("%")[0]).exploded[:19]


def _larger(space: memoryview, size: int) -> memoryview:
    """Space of another size that begins with what is there."""
    made = np.empty(size, np.uint8).data
    made[: len(space)] = space
    return made
