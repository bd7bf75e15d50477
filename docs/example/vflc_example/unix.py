"""Parties on one machine, over a Unix socket: `address = "unix://alice.sock"` in deploy.toml."""

import socket
import struct
from contextlib import suppress
from pathlib import Path

from vflc_runtime.transport.plain import PlainEnds, TooLong
from vflc_runtime.transport.transport import TransportRecord

LENGTH = struct.Struct("<I")


class Blocks:
    """Blocks of bytes over a socket, each after its length; see `Stream`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, block: bytes) -> None:
        self._connection.sendall(LENGTH.pack(len(block)) + block)

    def receive(self, most: int) -> bytes | None:
        head = self._read(LENGTH.size)
        if head is None:
            return None
        (length,) = LENGTH.unpack(head)
        if length > most:
            raise TooLong(f"a block of {length} bytes, where {most} are the most")
        return self._read(length)

    def _read(self, count: int) -> bytes | None:
        """So many bytes; None where the stream ends before."""
        parts = []
        while count:
            part = self._connection.recv(min(count, 1 << 20))
            if not part:
                return None
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


class Listening:
    """Accepts at a path; see `Acceptor`."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        with suppress(FileNotFoundError):
            if Path(path).is_socket():  # what an earlier process of this party left
                Path(path).unlink()
        self._socket.bind(path)
        Path(path).chmod(0o600)
        self._socket.listen()

    def accept(self) -> Blocks:
        return Blocks(self._socket.accept()[0])

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def dial(path: str) -> Blocks:
    """Connects to who listens at a path."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return Blocks(connection)


TRANSPORT = TransportRecord(
    name="unix",
    doc="A Unix socket, between parties of one user on one machine.",
    example="alice.sock",
    is_address=lambda text: 0 < len(text.encode()) < 100 and "\0" not in text,
    ends=lambda place, tls: PlainEnds(place, dial, Listening),
)
