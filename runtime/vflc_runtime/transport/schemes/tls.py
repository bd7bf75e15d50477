"""Frames over TLS and nothing between."""

from __future__ import annotations

from vflc_runtime.transport.schemes.grpc import is_address
from vflc_runtime.transport.tls import Tls
from vflc_runtime.transport.transport import Ends, TransportRecord


def ends(place: str, tls: Tls | None) -> Ends:
    """Those of a place; VFL0642 without a certificate, VFL0643 where it is of no use."""
    from vflc_runtime.transport.tls_ends import TlsEnds

    return TlsEnds(place, tls)


TRANSPORT = TransportRecord(
    name="tls",
    doc="Frames over mutual TLS 1.3, without HTTP/2 and gRPC.",
    example="10.0.0.7:7443",
    is_address=is_address,
    ends=ends,
    authenticates=True,
)
