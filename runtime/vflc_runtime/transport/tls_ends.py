"""The two ends of a stream over TLS alone: who is at the other end, its certificate says."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import cast

from vflc_runtime.errors import Failure
from vflc_runtime.transport.crowd import Crowd
from vflc_runtime.transport.descriptors import allowed_connections
from vflc_runtime.transport.ends import PATIENCE, Dial, listening
from vflc_runtime.transport.link import Link
from vflc_runtime.transport.plain import PlainDialer, PlainServer, Stream, not_listening
from vflc_runtime.transport.tls import (
    Identity,
    Tls,
    handshake_failure,
    identity,
    listed,
    party_of,
    split,
    stranger,
)
from vflc_runtime.transport.tls_stream import TlsStream, context
from vflc_runtime.transport.transport import Fail

GREETING = 5.0
"""Seconds that the handshake of who connects may take in all."""
STRANGERS = 64
"""Connections of those who have not shown a certificate yet, or not that of a peer."""
EACH = 16
"""Connections of one peer: some may be left of links that broke, or of a second process of it."""
_OTHER = "it speaks TLS, but not as at a tls:// address"


class TlsEnds:
    """See `Ends`.

    Args:
        place: whose they are.
        tls: its certificate, key and authority; without them it is VFL0642.
    """

    def __init__(self, place: str, tls: Tls | None) -> None:
        if tls is None:
            raise Failure(
                "VFL0642",
                "tls:// needs certificates",
                "`vflc certs --out DIR PARTY …` makes some for a trial; without encryption, on this machine "
                "alone, write addresses without a scheme",
            )
        self._place, self._own = place, identity(tls, place)
        self.expires = self._own.expires

    def check(self, address: str) -> None:
        """Any address will do."""

    def server(self, address: str, links: Mapping[str, Link], largest: int, fail: Fail) -> TlsServer:
        """Listens; VFL0646 where it cannot."""
        secure = context(self._own, server=True)
        try:
            acceptor = listening(lambda: _Acceptor(address, secure), OSError)
        except OSError as error:
            raise not_listening(address, error) from None
        return TlsServer(self._place, acceptor, links, largest, fail)

    def dialer(self, dial: Dial) -> TlsDialer:
        """Dials, and dials again."""
        return TlsDialer(self._place, dial, self._own)


class _Acceptor:
    """See `plain.Acceptor`."""

    def __init__(self, address: str, secure: ssl.SSLContext) -> None:
        where = split(address)
        family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
        self._socket, self._secure = socket.create_server(where, family=family), secure
        self.port, self._closed = int(self._socket.getsockname()[1]), False

    def accept(self) -> TlsStream:
        """Of who connects; the handshake is still to come."""
        while True:
            try:
                connection = self._socket.accept()[0]
            except OSError:
                if self._closed:
                    raise
                time.sleep(0.1)  # there are no descriptors left for the moment
                continue
            try:
                return TlsStream(connection, self._secure, server=True, patience=PATIENCE)
            except OSError:  # whoever it was has gone
                connection.close()

    def close(self) -> None:
        """See `plain.Acceptor`."""
        self._closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class TlsServer(PlainServer):
    """See `Server`. Whoever connects has a thread until it has shown a certificate, or has taken too long.

    Those who have shown none are few at a time, and make room for one another; those who have, too. So
    strangers keep out strangers, above all those of the same network, and a peer at most itself.
    """

    def __init__(
        self, place: str, acceptor: _Acceptor, links: Mapping[str, Link], largest: int, fail: Fail
    ) -> None:
        super().__init__(place, acceptor, links, largest, fail)
        self.port = acceptor.port
        self._strangers, self._peers = Crowd(min(STRANGERS, allowed_connections())), Crowd(EACH * len(links))

    def _admitted(self, stream: Stream) -> bool:
        self._strangers.add(stream, cast(TlsStream, stream).network)
        return True

    def _gone(self, stream: Stream) -> None:
        super()._gone(stream)
        self._strangers.discard(stream)
        self._peers.discard(stream)

    def _who(self, stream: Stream) -> Link | None:
        """The link of who dialled, by its certificate; None for anybody else."""
        secured = cast(TlsStream, stream)
        secured.greet(GREETING)
        names, expires = secured.other_end()
        peer = party_of(names, [*self._links, self._place])
        if peer is None or peer not in self._links or not secured.speaks_frames():
            self._turned_away(listed(names))
            return None
        link = self._links[peer]
        link.expires = min(link.expires, expires)
        self._strangers.discard(stream)
        self._peers.add(stream, peer)
        return link

    def _deny(self, stream: Stream) -> None:
        super()._deny(stream)
        cast(TlsStream, stream).part()


class TlsDialer(PlainDialer):
    """See `Dialing`."""

    def __init__(self, place: str, dial: Dial, own: Identity) -> None:
        super().__init__(place, dial, self._reach)
        self._own, self._secure = own, context(own, server=False)
        self._address, self._parties = dial.address, dial.parties

    def _reach(self) -> TlsStream:
        """A stream to the peer and nobody else."""
        peer = self.link.peer
        connection = socket.create_connection(split(self._address), timeout=self._patience)
        try:
            stream = TlsStream(connection, self._secure, server=False, patience=self._patience)
            stream.greet(self._patience)
            names, expires = stream.other_end()
            if party_of(names, self._parties) != peer:
                raise _Stranger(stranger(peer, f"its certificate is for {listed(names)}"))
            if not stream.speaks_frames():
                raise _Stranger(stranger(peer, _OTHER))
        except BaseException:
            connection.close()
            raise
        self.link.expires = min(self.link.expires, expires)
        return stream

    def _meaning(self, error: OSError) -> Failure | None:
        if isinstance(error, _Stranger):
            return error.failure
        return (
            handshake_failure(error, self.link.peer, self._own) if isinstance(error, ssl.SSLError) else None
        )

    def _introduce(self, stream: Stream) -> None:
        """Its certificate has said it."""


class _Stranger(OSError):
    """Who answers is not the peer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
